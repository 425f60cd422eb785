import { expect, test } from 'vitest'
import { RESERVATION_MS, Reservations } from './reservations.js'

test('room is kept once, and given back when it is released or its time is up', () => {
  let now = 0
  const reservations = new Reservations(() => now)
  reservations.keep('a', 60, 100)
  expect(() => reservations.keep('b', 60, 100)).toThrow(expect.objectContaining({ code: 'ERR_RESERVATION' }))
  reservations.release('a')
  reservations.keep('b', 60, 100)
  now = RESERVATION_MS
  expect(reservations.bytes).toBe(0)
  reservations.keep('c', 100, 100)
})

test('creations under way are bounded', () => {
  const reservations = new Reservations(() => 0)
  for (let count = 0; count < 256; count++) reservations.keep(String(count), 0, 1)
  expect(() => reservations.keep('one more', 0, 1)).toThrow(/too many/)
})
