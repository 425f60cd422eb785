import { EPOCH_NONE, HostId, Stamp, VolumeId } from '@cloudfs/interface'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { EXPECTED_MAX, EXPECTED_MS_MAX, ExpectedLeads } from './expected-leads.js'

const volume = VolumeId.parse('5a'.repeat(20))
const stamp = Stamp.parse('77'.repeat(32))
const other = Stamp.parse('78'.repeat(32))
const leading = {
  name: 'leading',
  detail: { volume, epoch: { ...EPOCH_NONE, host: HostId.parse('1'.repeat(40)) } },
} as const
const { signal } = new AbortController()

let expected: ExpectedLeads
beforeEach(() => {
  vi.useFakeTimers()
  expected = new ExpectedLeads()
})
afterEach(() => {
  expected.close()
  vi.useRealTimers()
})

/** What has become of it by now. */
async function stateOf(wait: Promise<void>): Promise<string> {
  let state = 'waits'
  wait.then(
    () => (state = 'let in'),
    (error: unknown) => (state = (error as { code: string }).code),
  )
  await vi.advanceTimersByTimeAsync(0)
  return state
}

test('followers are let in when the host is elected, clients when it leads', async () => {
  expected.expect(volume, stamp)
  const follower = expected.until('elected', volume, signal)
  const client = expected.until('leading', volume, signal)
  expect([await stateOf(follower), await stateOf(client)]).toEqual(['waits', 'waits'])
  expected.elected(volume, stamp)
  expect([await stateOf(follower), await stateOf(client)]).toEqual(['let in', 'waits'])
  // Whoever comes between the two is a client that is early, and a follower like any other.
  expect(expected.stampBefore('leading', volume)).toBe(stamp)
  expect(expected.stampBefore('elected', volume)).toBeUndefined()
  expected.onEvent(leading)
  expect(await stateOf(client)).toBe('let in')
  expect(expected.stampBefore('leading', volume)).toBeUndefined()
})

test('who has the key of a view that does not come is not let in', async () => {
  expected.expect(volume, stamp)
  const replaced = expected.until('elected', volume, signal)
  expected.expect(volume, other)
  expect(await stateOf(replaced)).toBe('ERR_NOT_PRIMARY')
  const outvoted = expected.until('elected', volume, signal)
  expected.elected(volume, stamp)
  expect(await stateOf(outvoted)).toBe('ERR_NOT_PRIMARY')
  expected.expect(volume, stamp)
  const late = expected.until('elected', volume, signal)
  late.catch(() => undefined)
  await vi.advanceTimersByTimeAsync(EXPECTED_MS_MAX)
  expect(await stateOf(late)).toBe('ERR_NOT_PRIMARY')
  expect(expected.stampBefore('elected', volume)).toBeUndefined()
})

test('who does not wait any longer is forgotten, and of too many volumes the oldest', async () => {
  const gone = new AbortController()
  expected.expect(volume, stamp)
  const wait = expected.until('elected', volume, gone.signal)
  gone.abort(Object.assign(new Error('gone'), { code: 'ERR_STREAM_LOST' }))
  expect(await stateOf(wait)).toBe('ERR_STREAM_LOST')
  for (let at = 0; at < EXPECTED_MAX; at++)
    expected.expect(VolumeId.parse(at.toString(16).padStart(40, '0')), stamp)
  expect(expected.stampBefore('elected', volume)).toBeUndefined()
})
