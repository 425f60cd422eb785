import { expect, test } from 'vitest'
import { Gate } from './gate.js'

const full = () => new Error('full')

/** Work that ends when told. */
function job() {
  let end = (): void => undefined
  const done = new Promise<void>((resolve) => (end = resolve))
  const state = { started: false, end, work: () => ((state.started = true), done) }
  return state
}

test('no more run than allowed, the others in order of their calls, and past the waiting places nobody', async () => {
  const gate = new Gate(2, 2)
  const jobs = Array.from({ length: 5 }, job)
  const runs = jobs.map((each) => gate.run(each.work, full))
  await expect(runs[4]).rejects.toThrow('full')
  expect(jobs.map((each) => each.started)).toEqual([true, true, false, false, false])
  jobs[1]!.end()
  await runs[1]
  expect(jobs.map((each) => each.started)).toEqual([true, true, true, false, false])
  expect(gate.running).toBe(2)
  for (const each of jobs) each.end()
  await Promise.all(runs.slice(0, 4))
  expect(gate.running).toBe(0)
})

test('who gives up waiting frees the waiting place and never runs', async () => {
  const gate = new Gate(1, 1)
  const [first, second, third] = [job(), job(), job()]
  const running = gate.run(first.work, full)
  const stop = new AbortController()
  const waiting = gate.run(second.work, full, stop.signal)
  stop.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
  const next = gate.run(third.work, full)
  first.end()
  third.end()
  await Promise.all([running, next])
  expect(second.started).toBe(false)
  expect(gate.running).toBe(0)
})

test('work that fails gives its place back', async () => {
  const gate = new Gate(1, 0)
  await expect(gate.run(() => Promise.reject(new Error('no')), full)).rejects.toThrow('no')
  expect(gate.running).toBe(0)
})
