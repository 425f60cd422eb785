import { expect, test } from 'vitest'
import { randomFrom, within } from './random.js'
import { Schedule } from './schedule.js'

test('events happen in order of their times, and those of one time in the order in which they were planned', () => {
  const schedule = new Schedule()
  const random = randomFrom(1)
  const planned = Array.from({ length: 1000 }, (_, index) => ({ atNs: within(random, 0, 100), index }))
  const happened: typeof planned = []
  for (const one of planned) schedule.at(one.atNs, () => happened.push(one))
  while (schedule.step(1000));
  expect(happened).toEqual(planned.toSorted((a, b) => a.atNs - b.atNs || a.index - b.index))
  expect(schedule.nowNs).toBe(1000)
})

test('what is cancelled does not happen, and what is planned meanwhile does', () => {
  const schedule = new Schedule()
  const happened: string[] = []
  const never = schedule.at(20, () => happened.push('never'))
  schedule.at(10, () => {
    never.cancel()
    schedule.after(5, () => happened.push(`at ${String(schedule.nowNs)}`))
  })
  while (schedule.step(100));
  expect(happened).toEqual(['at 15'])
})

test('nothing happens behind the time asked for', () => {
  const schedule = new Schedule()
  let count = 0
  schedule.at(50, () => count++)
  expect(schedule.step(49)).toBe(false)
  expect(count).toBe(0)
  expect(schedule.step(50)).toBe(true)
  expect(count).toBe(1)
})
