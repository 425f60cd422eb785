/** Goal: a seed is a whole run. What a seed is made of, and that the same comes of it each time. */
import { expect, test } from 'vitest'
import { live, type Report } from './life.js'

async function told(seed: number): Promise<{ lines: string[]; report: Report }> {
  const lines: string[] = []
  const report = await live({ seed, level: 'all', sink: (line) => lines.push(line) })
  return { lines, report }
}

test('the same seed gives the same log, byte for byte', async () => {
  const [one, other] = [await told(11), await told(11)]
  expect(one.lines.length).toBeGreaterThan(1_000)
  expect(other.lines.join('\n')).toBe(one.lines.join('\n'))
  expect(other.report).toEqual(one.report)
})

test('another seed gives another log, and reading one changes nothing', async () => {
  const quiet = await live({ seed: 12 })
  const { report } = await told(12)
  expect(report.fingerprint).toBe(quiet.fingerprint)
  expect((await live({ seed: 13 })).fingerprint).not.toBe(quiet.fingerprint)
})
