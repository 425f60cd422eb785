import { HostId, Lsn, type MemberProgress, StoreId, VolumeId } from '@cloudfs/interface'
import { expect, test } from 'vitest'
import type { Member } from '../views/sets.js'
import { Absences } from './absences.js'
import { type Led, type SetPorts, SetChanges } from './set-changes.js'

const volume = VolumeId.parse('01'.repeat(20))
const hostOf = (index: number): HostId => HostId.parse(`1${String(index)}`.repeat(20))
const placeOf = (index: number) => ({
  host: hostOf(index),
  store: StoreId.parse(`a${String(index)}`.repeat(20)),
})
const data = (...indices: number[]): Member[] =>
  indices.map((index) => ({ ...placeOf(index), role: 'data' as const }))
const progress = (index: number, state: MemberProgress['state']): MemberProgress => ({
  ...placeOf(index),
  state,
  appendedLsn: Lsn(0),
  syncedLsn: Lsn(0),
})

/** Host 0 leads what hosts 0 to 2 keep. A learner has everything at the third look. */
function primary(mode = 'quorum') {
  const sets: (Member | string)[][] = [data(0, 1, 2)]
  const asked: unknown[] = []
  let looks = 0
  let led: Led | undefined
  const ports: SetPorts = {
    host: hostOf(0),
    clock: { nowMs: () => 0, sleep: () => Promise.resolve() },
    led: () => {
      const members = sets.at(-1) as Member[]
      led = { mode, members, progress: [progress(3, ++looks > 2 ? 'in-step' : 'behind')] }
      return Promise.resolve(led)
    },
    changeSet: (_, { from, to }) => {
      expect(from).toEqual(sets.at(-1))
      sets.push([...to])
      return Promise.resolve()
    },
    handOver: (_, to) => {
      asked.push(`hand over to ${to}`)
      return Promise.resolve()
    },
    ask: (host, _, wish) => {
      asked.push({ host, wish })
      return Promise.resolve()
    },
    log: () => undefined,
    onBug: (error) => {
      throw error
    },
  }
  return { changes: new SetChanges(ports), sets, asked }
}

const done = (changes: SetChanges) => expect.poll(() => changes.volumes.size, { timeout: 60_000 }).toBe(0)

test('who joins learns first, and votes in the place of who leaves when it has everything', async () => {
  const { changes, sets } = primary()
  await changes.begin(volume, { joins: placeOf(3), leaves: hostOf(1) })
  expect(sets).toEqual([data(0, 1, 2), [...data(0, 1, 2), { ...placeOf(3), role: 'learner' }]])
  await done(changes)
  expect(sets.slice(2)).toEqual([data(0, 2, 3)])
})

test('a primary that is replaced has the one that joined lead and see it off', async () => {
  const { changes, sets, asked } = primary()
  await changes.begin(volume, { joins: placeOf(3), leaves: hostOf(0) })
  await done(changes)
  expect(sets.at(-1)).toEqual(data(0, 1, 2, 3))
  expect(asked).toEqual([`hand over to ${hostOf(3)}`, { host: hostOf(3), wish: { leaves: hostOf(0) } }])
})

test('in mode local the primary is not replaced, and nothing begins', async () => {
  const { changes, sets } = primary('local')
  await expect(changes.begin(volume, { joins: placeOf(3), leaves: hostOf(0) })).rejects.toMatchObject({
    code: 'ERR_NOT_HANDED_OVER',
  })
  expect(sets).toHaveLength(1)
})

test('who has been away for long enough is overdue, and once it is tried not again for a while', () => {
  const absences = new Absences(1_000)
  const seen = (state: MemberProgress['state'], nowMs: number) =>
    absences.overdue(
      new Map([[volume, { mode: 'quorum', members: data(0, 1), progress: [progress(1, state)] }]]),
      nowMs,
    )
  const gone = [{ volume, host: hostOf(1) }]
  expect(seen('away', 0)).toEqual([])
  expect(seen('behind', 900)).toEqual([])
  expect(seen('away', 1_500)).toEqual([])
  expect(seen('away', 2_500)).toEqual(gone)
  absences.tried(volume, 2_500)
  expect(seen('away', 20_000)).toEqual([])
  expect(seen('away', 40_000)).toEqual(gone)
})
