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
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isVoter, majorityOf, stampHashOf } from '../stamp-slices.js'
import { epochAbove, judge, type Promised } from './ballot.js'

const hostOf = (index: number) => HostId.parse(`1${String(index)}`.repeat(20))
const storeOf = (index: number) => StoreId.parse(`a${String(index)}`.repeat(20))
const epochOf = (counter: number, host = 0): Epoch => ({ counter, host: hostOf(host) })

function viewOf(hosts: readonly number[]): string {
  const members = hosts.map((index) => ({
    host: hostOf(index),
    store: storeOf(index),
    role: 'data' as const,
    slice: new Uint8Array(),
  }))
  const stampHash = stampHashOf(Stamp.parse('77'.repeat(32)))
  return bytesToHex(encodeView({ stampHash, primary: hostOf(hosts[0] ?? 0), leaseMs: 500, members }))
}

interface Told {
  readonly head?: readonly [counter: number, lsn: number]
  readonly recovering?: boolean
  readonly set?: readonly number[]
  /** Several have a say: each with the counter of its view's epoch. */
  readonly sets?: readonly (readonly [counter: number, set: readonly number[]])[]
  readonly store?: number
}

function promise(index: number, { head: [counter, lsn] = [1, 10], ...rest }: Told = {}): Promised {
  const standing: Standing = {
    store: storeOf(rest.store ?? index),
    promised: epochOf(9),
    head: { epoch: epochOf(counter), lsn: Lsn(lsn), version: VersionId.parse('0'.repeat(40)) },
    committedLsn: Lsn(1),
    recovering: rest.recovering ?? false,
    nonce: '',
    views: (rest.sets ?? [[1, rest.set ?? [0, 1, 2]]]).map(([counterOfView, set], at) => ({
      epoch: epochOf(counterOfView),
      lsn: Lsn(at + 1),
      payload: viewOf(set),
    })),
  }
  return { host: hostOf(index), standing }
}

describe('who has won', () => {
  test('a majority of the set, this host among them', () => {
    expect(judge([promise(0)], true).result).toBe('undecided')
    expect(judge([promise(0), promise(2)], false)).toMatchObject({ result: 'elected', isRestart: false })
  })

  test('the most advanced head is adopted: by epoch, then lsn, never by length', () => {
    const answers = [
      promise(0, { head: [1, 90] }),
      promise(1, { head: [2, 20] }),
      promise(2, { head: [2, 21] }),
    ]
    expect(judge(answers, false)).toMatchObject({ head: { epoch: epochOf(2), lsn: 21 }, holder: hostOf(2) })
  })

  test('a store that is not the member of the view does not count for it', () => {
    expect(judge([promise(0), promise(1, { store: 7 })], true).result).toBe('undecided')
  })

  test('a host outside the set does not count', () => {
    expect(judge([promise(0), promise(4)], true).result).toBe('undecided')
  })

  test('the set is that of the head adopted', () => {
    const newer = { head: [2, 5] as const, set: [0, 1, 2, 3, 4] }
    expect(judge([promise(0), promise(1), promise(3, newer)], false).result).toBe('elected')
    expect(judge([promise(0), promise(3, newer)], false).result).toBe('undecided')
  })
})

describe('a committed view that another host has told of', () => {
  const heardBy = (index: number, counter: number, told: Told = {}): Promised => {
    const { host, standing } = promise(index, told)
    return { host, standing: { ...standing, passedBy: epochOf(counter) } }
  }

  test('and that left its store out: nobody is elected by a set that is older', () => {
    expect(judge([promise(0), promise(1), heardBy(2, 7)], true).result).toBe('undecided')
  })

  test('stops nobody who has that view, or a later one', () => {
    const newer: Told = {
      head: [7, 20],
      sets: [
        [1, [0, 1, 2]],
        [7, [0, 1, 3]],
      ],
    }
    expect(judge([promise(0, newer), promise(1, newer), heardBy(2, 7)], true).result).toBe('elected')
  })
})

describe('what those who promised know to be committed (M1)', () => {
  const old = [1, [0, 1, 2]] as const
  const next = [2, [0, 1, 3]] as const
  const told = (
    index: number,
    committed: number,
    sets: NonNullable<Told['sets']> = [old, next],
  ): Promised => {
    const { host, standing } = promise(index, { head: [2, 2], sets })
    // Those that know the change to be committed tell of no view before it.
    const views = standing.views.map((view) => ({ ...view, lsn: Lsn(view.epoch.counter) }))
    return { host, standing: { ...standing, views, committedLsn: Lsn(committed) } }
  }

  test('one that was left out knows of the change: the set before it has no say', () => {
    expect(judge([told(1, 1), told(3, 1)], false).result).toBe('undecided')
    expect(judge([told(1, 1), told(3, 1), told(2, 2, [next])], false)).toMatchObject({
      result: 'elected',
      views: [{ members: [{ host: hostOf(0) }, { host: hostOf(1) }, { host: hostOf(3) }] }],
      knownLsn: 2,
    })
  })

  test('nobody knows of it', () => {
    expect(judge([told(1, 1), told(2, 1), told(3, 1)], false)).toMatchObject({ knownLsn: 1 })
  })

  test('not what a restart went on without', () => {
    const undone = told(2, 9, [[3, [0, 1, 3]]])
    expect(judge([told(0, 1), told(1, 1), told(3, 1), undone], false)).toMatchObject({ knownLsn: 1 })
  })

  test('a first view has a say before it is known to be committed', () => {
    expect(judge([promise(0), promise(1)], false)).toMatchObject({ knownLsn: 1 })
    const created = [0, 1].map((index) => told(index, 0, [old]))
    expect(judge(created, false)).toMatchObject({ result: 'elected', knownLsn: 0 })
  })
})

describe('recovering members (R3)', () => {
  test('promise, and their heads are no evidence', () => {
    const recovering = promise(1, { recovering: true })
    expect(judge([promise(0), recovering], true)).toMatchObject({ result: 'undecided', mayRestart: false })
    expect(judge([promise(0), recovering, promise(2)], false)).toMatchObject({ isRestart: false })
  })

  test('a majority of them makes a restart, once all have had their time, of the most advanced head of all', () => {
    const answers = [0, 1].map((index) => promise(index, { recovering: true, head: [1, 10 + index] }))
    expect(judge(answers, false)).toMatchObject({ result: 'undecided', mayRestart: true })
    expect(judge(answers, true)).toMatchObject({ result: 'elected', isRestart: true, head: { lsn: 11 } })
  })

  test('whoever is not recovering makes it none, if there are enough of them', () => {
    const answers = [promise(0, { recovering: true }), promise(1), promise(2)]
    expect(judge(answers, true)).toMatchObject({ result: 'elected', isRestart: false })
  })
})

test('whatever is committed by a majority is in what is adopted', () => {
  // Each member has a beginning of one history of one epoch; what a majority has may be committed.
  const cluster = fc.integer({ min: 1, max: 7 }).chain((count) =>
    fc.record({
      heads: fc.array(fc.nat(20), { minLength: count, maxLength: count }),
      answering: fc.array(fc.boolean(), { minLength: count, maxLength: count }),
    }),
  )
  fc.assert(
    fc.property(cluster, ({ heads, answering }) => {
      const set = heads.map((_, index) => index)
      const answers = heads.flatMap((lsn, index) =>
        answering[index] === true ? promise(index, { head: [1, lsn], set }) : [],
      )
      const verdict = judge(answers, true)
      const isMajority = answers.length >= majorityOf(set.length)
      expect(verdict.result).toBe(isMajority ? 'elected' : 'undecided')
      if (verdict.result !== 'elected') return
      const committed = heads.toSorted((a, b) => b - a)[majorityOf(set.length) - 1] ?? 0
      expect(verdict.head.lsn).toBeGreaterThanOrEqual(committed)
      expect(verdict.view.members.every(isVoter)).toBe(true)
    }),
  )
})

test('an epoch is above all that anybody has promised or seen', () => {
  const standings = [promise(0, { head: [12, 1] }).standing, promise(1).standing]
  expect(epochAbove(standings, hostOf(2))).toEqual(epochOf(13, 2))
  expect(epochAbove(standings, hostOf(2), epochOf(20))).toEqual(epochOf(21, 2))
  expect(epochAbove([], hostOf(2))).toEqual(epochOf(1, 2))
})

describe('a change of the set', () => {
  const old = [0, 1, 2] as const
  const next = [0, 1, 3] as const
  const both = [
    [1, old],
    [2, next],
  ] as const

  test('until somebody knows it to be committed, both sets have to agree', () => {
    const head = [2, 20] as const
    const made = { head, sets: both }
    expect(judge([promise(0, made), promise(3, made)], false).result).toBe('undecided')
    expect(judge([promise(0, made), promise(3, made), promise(2)], false)).toMatchObject({
      result: 'elected',
      views: [{}, {}],
    })
    const knows = { head, sets: [[2, next]] } as const
    expect(judge([promise(0, made), promise(3, knows)], false)).toMatchObject({
      result: 'elected',
      views: [{}],
    })
  })

  test('who knows another view to be committed, which this history lacks, says nothing about it', () => {
    const made = { head: [3, 20], sets: both } as const
    const knows = { head: [2, 30], sets: [[9, next]] } as const
    expect(judge([promise(0, made), promise(3, knows)], false).result).toBe('undecided')
  })

  test('the set to come has to agree, and a restart changes none', () => {
    const members = next.map((index) => ({
      host: hostOf(index),
      store: storeOf(index),
      role: 'data' as const,
    }))
    const answers = [promise(0), promise(2)]
    expect(judge(answers, false).result).toBe('elected')
    expect(judge(answers, false, members).result).toBe('undecided')
    expect(judge([...answers, promise(3)], false, members).result).toBe('elected')
    const recovering = [0, 1, 2, 3].map((index) => promise(index, { recovering: true }))
    expect(judge(recovering, true).result).toBe('elected')
    expect(judge(recovering, true, members)).toMatchObject({ result: 'undecided', mayRestart: false })
  })
})
