import { HostId, Stamp, VolumeId } from '@cloudfs/interface'
import { expect, test } from 'vitest'
import { CHALLENGE_MS_MAX, CHALLENGES_MAX, Challenges } from './challenges.js'
import { UPGRADE_RECORDS, UPGRADE_SESSION } from '../http-protocols.js'
import { followKeyOf, isProven, parseTicket, ticketOf } from './ticket.js'

const volume = VolumeId.parse('5a'.repeat(20))
const host = HostId.parse('11'.repeat(20))
const protocol = UPGRADE_RECORDS
const stamp = Stamp.parse('77'.repeat(32))

test('a nonce counts once', () => {
  const challenges = new Challenges()
  const nonce = challenges.give()
  expect(challenges.take(nonce)).toBe(true)
  expect(challenges.take(nonce)).toBe(false)
  expect(challenges.take('00'.repeat(16))).toBe(false)
})

test('a nonce counts until its time is over', () => {
  let nowMs = 0
  const challenges = new Challenges(() => nowMs)
  const [first, second] = [challenges.give(), challenges.give()]
  nowMs = CHALLENGE_MS_MAX
  expect(challenges.take(first)).toBe(true)
  nowMs += 1
  expect(challenges.take(second)).toBe(false)
})

test('of too many nonces the oldest goes', () => {
  const challenges = new Challenges()
  const nonces = Array.from({ length: CHALLENGES_MAX + 1 }, () => challenges.give())
  expect(challenges.take(nonces[0] ?? '')).toBe(false)
  expect(challenges.take(nonces[1] ?? '')).toBe(true)
})

test('a ticket proves the key for one nonce, protocol, volume and host', () => {
  const key = followKeyOf(stamp, { protocol, volume, host })
  const ticket = parseTicket(ticketOf(key, 'ab'.repeat(16), { protocol, volume, host }))
  if (ticket === undefined) throw new Error('no ticket')
  expect(isProven(key, ticket, { protocol, volume, host })).toBe(true)
  expect(isProven(key, { ...ticket, nonce: 'ac'.repeat(16) }, { protocol, volume, host })).toBe(false)
  expect(isProven(key, ticket, { protocol, volume, host: HostId.parse('12'.repeat(20)) })).toBe(false)
  expect(isProven(key, ticket, { protocol, volume: VolumeId.parse('5b'.repeat(20)), host })).toBe(false)
  const other = followKeyOf(stamp, { protocol, volume, host: HostId.parse('12'.repeat(20)) })
  expect(isProven(other, ticket, { protocol, volume, host })).toBe(false)
  // An endpoint's key follows nothing.
  const bridged = followKeyOf(stamp, { protocol: UPGRADE_SESSION, volume, host })
  expect(isProven(bridged, ticket, { protocol, volume, host })).toBe(false)
})

test.each(['', 'x', `${'ab'.repeat(16)}.`, `${'ab'.repeat(16)}.${'00'.repeat(31)}`, '.'.repeat(97)])(
  'a ticket of another shape is none: %s',
  (text) => {
    expect(parseTicket(text)).toBeUndefined()
  },
)
