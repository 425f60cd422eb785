import { HostId, Lsn, type MemberProgress, StoreId, VolumeId } from '@cloudfs/interface'
import { expect, test } from 'vitest'
import type { Member } from '../views/sets.js'
import { Degrading, DEGRADE_AFTER_MS } from './degrading.js'
import type { Led } from './set-changes.js'

const volume = VolumeId.parse('01'.repeat(20))
const placeOf = (index: number) => ({
  host: HostId.parse(`1${String(index)}`.repeat(20)),
  store: StoreId.parse(`a${String(index)}`.repeat(20)),
})
const set = (...roles: readonly Member['role'][]): Member[] =>
  roles.map((role, index) => ({ ...placeOf(index), role }))
const led = (members: readonly Member[], state: MemberProgress['state']): Map<VolumeId, Led> => {
  const progress = { ...placeOf(1), state, appendedLsn: Lsn(0), syncedLsn: Lsn(0) }
  return new Map([[volume, { mode: 'quorum', members, progress: [progress] }]])
}
const whole = set('data', 'data', 'witness')
const degraded = set('data', 'learner', 'witness')

test('a data member that stays away is gone on without, where there is a witness', () => {
  const degrading = new Degrading()
  expect(degrading.steps(led(whole, 'away'), 0)).toEqual([])
  expect(degrading.steps(led(whole, 'behind'), 500)).toEqual([])
  expect(degrading.steps(led(whole, 'away'), 600)).toEqual([])
  const now = 600 + DEGRADE_AFTER_MS
  expect(degrading.steps(led(whole, 'away'), now)).toEqual([{ volume, without: placeOf(1).host }])
  degrading.tried(volume, now)
  expect(degrading.steps(led(whole, 'away'), now + 100)).toEqual([])
  const three = new Degrading()
  for (const ms of [0, 10_000]) expect(three.steps(led(set('data', 'data', 'data'), 'away'), ms)).toEqual([])
})

test('it counts again once it has everything', () => {
  const degrading = new Degrading()
  expect(degrading.steps(led(degraded, 'behind'), 0)).toEqual([])
  expect(degrading.steps(led(degraded, 'in-step'), 0)).toEqual([{ volume, again: placeOf(1) }])
  expect(degrading.steps(led(set('data', 'learner', 'data'), 'in-step'), 0)).toEqual([])
})
