import { EPOCH_NONE, HostId, Stamp, VolumeId } from '@cloudfs/interface'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { EXPECTED_MAX, EXPECTED_MS_MAX, ExpectedLeads } from './expected-leads.js'

const volume = VolumeId.parse('5a'.repeat(20))
const stamp = Stamp.parse('77'.repeat(32))
const other = Stamp.parse('78'.repeat(32))
const epoch = { ...EPOCH_NONE, host: HostId.parse('1'.repeat(40)) }

let expected: ExpectedLeads
beforeEach(() => {
  vi.useFakeTimers()
  expected = new ExpectedLeads()
})
afterEach(() => {
  expected.close()
  vi.useRealTimers()
})

test('who comes before this host leads is known by the view to come, until that has come', () => {
  expected.expect(volume, { epoch, stamp })
  expected.elected(volume, stamp)
  expect(expected.of(volume)).toMatchObject({ epoch, stamp })
  expected.onEvent({ name: 'leading', detail: { volume, epoch } })
  expect(expected.of(volume)).toBeUndefined()
})

test('of a view that does not come nothing is known any more', () => {
  expected.expect(volume, { epoch, stamp })
  expected.expect(volume, { epoch, stamp: other })
  expect(expected.of(volume)?.stamp).toBe(other)
  expected.elected(volume, stamp)
  expect(expected.of(volume)).toBeUndefined()
  expected.expect(volume, { epoch, stamp })
  expected.onEvent({ name: 'stepped-down', detail: { volume, promised: epoch } })
  expect(expected.of(volume)).toBeUndefined()
  expected.expect(volume, { epoch, stamp })
  vi.advanceTimersByTime(EXPECTED_MS_MAX)
  expect(expected.of(volume)).toBeUndefined()
})

test('of too many volumes the oldest is forgotten', () => {
  expected.expect(volume, { epoch, stamp })
  for (let at = 0; at < EXPECTED_MAX; at++)
    expected.expect(VolumeId.parse(at.toString(16).padStart(40, '0')), { epoch, stamp })
  expect(expected.of(volume)).toBeUndefined()
})
