import { expect, test } from 'vitest'
import { Clock } from './clock.js'
import { Schedule } from './schedule.js'

test('a clock goes at its own rate, never back, and says when it will show a time', () => {
  const schedule = new Schedule()
  const clock = new Clock(schedule, 1_000_000, 1.01)
  schedule.step(1_000_000)
  expect(clock.now()).toBe(2_010_000)
  clock.drift(0.99)
  expect(clock.now()).toBe(2_010_000)
  const worldNs = clock.worldTimeOf(3_000_000)
  schedule.step(worldNs - 2)
  expect(clock.now()).toBeLessThan(3_000_000)
  schedule.step(worldNs)
  expect(clock.now()).toBeGreaterThanOrEqual(3_000_000)
})
