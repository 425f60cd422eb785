/**
 * Goal: replicas lose nothing that was acknowledged, agree on every update, show clients one disk and are alike in the end,
 * whatever happens meanwhile. Method: the shipped core on simulated hosts (docs/testing.md, Simulation), a life for each seed.
 * A seed that fails is lived again by `npm run sim -- --seed N`.
 */
import { Coverage, faultKinds, live } from '@cloudfs/simulator'
import { describe, expect, test } from 'vitest'

const isLong = process.env['CLOUDFS_TEST_LONG'] !== undefined
const first = Number(process.env['CLOUDFS_TEST_SEED'] ?? 1)
const count = Number(process.env['CLOUDFS_TEST_COUNT'] ?? (isLong ? 2000 : 100))
const seeds = Array.from({ length: count }, (_, index) => first + index)
const coverage = new Coverage()

describe('whatever happens to hosts, clients see one disk, and replicas agree', () => {
  test.each(seeds)('seed %i', async (seed) => {
    const report = await live({ seed })
    coverage.add(report.counts)
    expect(report.fault, report.story.join('\n')).toBeUndefined()
    expect(report.steps).toBeGreaterThanOrEqual(10_000)
  })

  test('and all of it did happen, twenty times at least', () => {
    const { counts } = coverage
    const kinds = faultKinds.map((kind) => `fault:${kind}`)
    const transitions = ['hello', 'runs', 'commit', 'ack', 'compact', 'blocks', 'compacted']
    for (const name of [...kinds, ...transitions.map((frame) => `protocol:${frame}`)])
      expect(counts[name] ?? 0, name).toBeGreaterThanOrEqual(20)
    // Who is elected lacks records only if nobody with more of them could stand: seldom.
    expect(counts['protocol:fetch'] ?? 0, 'protocol:fetch').toBeGreaterThanOrEqual(5)
  })
})
