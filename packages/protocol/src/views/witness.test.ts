/** Elections of two data members, 0 and 1, and a witness, 2 (docs/protocol.md, W3 to W5). */
import { encodeView } from '@cloudfs/format'
import {
  bytesToHex,
  type Epoch,
  HostId,
  Lsn,
  Stamp,
  type Standing,
  StoreId,
  VersionId,
} from '@cloudfs/interface'
import { expect, test } from 'vitest'
import { stampHashOf } from '../stamp-slices.js'
import { judge, lacksData, type Promised } from './ballot.js'
import type { Member } from './sets.js'
import { degradedSet, degrades, isBeginningOf } from './witness.js'

const hostOf = (index: number) => HostId.parse(`1${String(index)}`.repeat(20))
const storeOf = (index: number) => StoreId.parse(`a${String(index)}`.repeat(20))
const epochOf = (counter: number): Epoch => ({ counter, host: hostOf(0) })

function setOf(...data: readonly number[]): Member[] {
  return [0, 1, 2].map((index) => ({
    host: hostOf(index),
    store: storeOf(index),
    role: index === 2 ? 'witness' : data.includes(index) ? 'data' : 'learner',
  }))
}
const both = setOf(0, 1)

function payloadOf(members: readonly Member[], oldStamp?: Stamp): string {
  const stampHash = stampHashOf(STAMP)
  const sliced = members.map((member) => ({ ...member, slice: new Uint8Array() }))
  const view = { stampHash, primary: hostOf(0), leaseMs: 500, members: sliced }
  return bytesToHex(encodeView({ ...view, ...(oldStamp && { oldStamp }) }))
}

/** Of every view. */
const STAMP = Stamp.parse('77'.repeat(32))

type View = readonly [counter: number, lsn: number, members: readonly Member[]]

function promise(
  index: number,
  head: readonly [counter: number, lsn: number],
  views: readonly View[] = [[1, 1, both]],
  recovering = false,
): Promised {
  const version = VersionId.parse(String(head[1]).padStart(2, '0').repeat(20))
  const standing: Standing = {
    store: storeOf(index),
    promised: epochOf(9),
    head: { epoch: epochOf(head[0]), lsn: Lsn(head[1]), version },
    committedLsn: Lsn(1),
    recovering,
    nonce: '',
    views: views.map(([counter, lsn, members]) => ({
      epoch: epochOf(counter),
      lsn: Lsn(lsn),
      payload: payloadOf(members),
    })),
  }
  return { host: hostOf(index), standing }
}

test('W3: what only the witness has the headers of is left off, if nobody can have committed it', () => {
  const verdict = judge([promise(1, [1, 7]), promise(2, [1, 9])], false)
  expect(verdict).toMatchObject({
    result: 'elected',
    head: { lsn: 7 },
    holder: hostOf(1),
    isCut: true,
    isRestart: false,
  })
})

test('who has the bodies is gone on from, and not the witness beside it', () => {
  for (const order of [
    [promise(2, [1, 9]), promise(1, [1, 9])],
    [promise(1, [1, 9]), promise(2, [1, 9])],
  ])
    expect(judge(order, false)).toMatchObject({ holder: hostOf(1), head: { lsn: 9 }, isCut: false })
  const all = [promise(1, [1, 7]), promise(2, [1, 9]), promise(0, [1, 8])]
  expect(judge(all, false)).toMatchObject({ holder: hostOf(0), head: { lsn: 8 }, isCut: true })
})

test('W3: behind a set that went on without the candidate nothing is left off', () => {
  const degraded: View[] = [
    [1, 1, both],
    [2, 8, setOf(0)],
  ]
  const head = judge([promise(1, [1, 7]), promise(2, [2, 9], degraded)], true)
  expect(head.result).toBe('undecided')
  // A set with both: the data member that is missing needs the other one for a majority.
  const again: View[] = [
    [1, 1, both],
    [2, 9, both],
  ]
  expect(judge([promise(1, [1, 7]), promise(2, [2, 9], again)], false)).toMatchObject({
    result: 'elected',
    head: { lsn: 7 },
    isCut: true,
  })
})

test('a header is all there is of a view, so a witness has that as anybody has', () => {
  const views: View[] = [
    [1, 1, both],
    [2, 8, both],
  ]
  const verdict = judge([promise(1, [1, 7]), promise(2, [2, 8], views)], false)
  expect(verdict).toMatchObject({ result: 'elected', head: { lsn: 8 }, holder: hostOf(2), isCut: false })
  expect(judge([promise(1, [1, 7]), promise(2, [2, 9], views)], true).result).toBe('undecided')
})

test('W5: where every data member has answered and lost it, it is left off in a restart', () => {
  const lost = [promise(0, [1, 6], undefined, true), promise(1, [1, 7], undefined, true), promise(2, [1, 9])]
  expect(judge(lost, true)).toMatchObject({
    result: 'elected',
    head: { lsn: 7 },
    isRestart: true,
    isCut: true,
  })
  expect(judge(lost.slice(1), true).result).toBe('undecided')
  expect(judge(lost, true, setOf(1)).result).toBe('undecided')
})

test('W3: who is recovering may have had it', () => {
  const head = [promise(1, [1, 7], undefined, true), promise(2, [1, 9])]
  expect(judge(head, true).result).toBe('undecided')
})

test('what two replicas have in common is told by their views, or it is not known', () => {
  const later: View[] = [
    [1, 1, both],
    [3, 8, both],
  ]
  const of = (head: readonly [number, number], views?: readonly View[]): Standing =>
    promise(1, head, views).standing
  expect(isBeginningOf(of([3, 9], later), of([3, 10], later))).toBe(true)
  expect(isBeginningOf(of([3, 11], later), of([3, 10], later))).toBe(false)
  expect(isBeginningOf(of([1, 7]), of([3, 10], later))).toBe(true)
  // A tail of the old epoch that the new one left off.
  expect(isBeginningOf(of([1, 8]), of([3, 10], later))).toBe(false)
  expect(isBeginningOf(of([2, 4]), of([3, 10], later))).toBe(false)
})

test('W4: the set goes on without a data member that has not answered, and never without both', () => {
  const promises = [promise(1, [1, 7]), promise(2, [1, 9])]
  expect(degradedSet(both, promises)).toEqual(setOf(1))
  expect(degradedSet(both, [...promises, promise(0, [1, 7])])).toBeUndefined()
  expect(degradedSet(both, [promise(2, [1, 9])])).toBeUndefined()
  expect(degrades(both, setOf(1))).toBe(true)
  expect(degrades(setOf(1), both)).toBe(false)
  expect(degrades(both, both.slice(0, 2))).toBe(false)
  const verdict = judge(promises, false)
  expect(verdict.result === 'elected' && lacksData(verdict.views, promises)).toBe(true)
})

test('a view that only the witness has, and knows to be committed, follows the one whose stamp it reveals', () => {
  const knows = (oldStamp: Stamp, head = 8): Promised => {
    const { host, standing } = promise(2, [2, head], [[2, 8, both]])
    const views = standing.views.map((view) => ({ ...view, payload: payloadOf(both, oldStamp) }))
    return { host, standing: { ...standing, committedLsn: Lsn(8), views } }
  }
  const other = Stamp.parse('78'.repeat(32))
  const { standing } = promise(1, [1, 7])
  expect(isBeginningOf(standing, knows(STAMP).standing)).toBe(true)
  expect(isBeginningOf(standing, knows(other).standing)).toBe(false)
  // It has more than what that view follows.
  expect(isBeginningOf(promise(1, [1, 8]).standing, knows(STAMP).standing)).toBe(false)
  expect(judge([promise(1, [1, 7]), knows(STAMP)], true)).toMatchObject({
    result: 'elected',
    head: { lsn: 8 },
    holder: hostOf(2),
    isCut: false,
    knownLsn: 8,
  })
  expect(judge([promise(1, [1, 7]), knows(other)], true).result).toBe('undecided')
  // What is behind it has a body that nobody here has, and the view's record would be left off with it.
  expect(judge([promise(1, [1, 7]), knows(STAMP, 9)], true).result).toBe('undecided')
})
