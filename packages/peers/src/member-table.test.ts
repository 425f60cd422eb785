import { HostId } from '@cloudfs/interface'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Announcement } from './announcement.js'
import { MemberTable } from './member-table.js'

const limits = { suspectAfterMs: 2_500, downAfterMs: 6_000, membersMax: 4, stepMsMax: 1_000 }
const hostId = (number: number) => HostId.parse(number.toString(16).padStart(40, '0'))
const signed = { text: '', signature: '' }

function announcementOf(number: number, revision = 1): Announcement {
  return {
    hostId: hostId(number),
    revision,
    publicKey: '',
    addresses: [],
    zone: '',
    draining: false,
    stores: [],
    httpPort: 0,
    enginePort: 0,
    version: '',
  }
}

/** A table that knows host 1, heard at time 0, and a clock that steps. */
function tableWith(...numbers: number[]) {
  const table = new MemberTable(limits, 0)
  for (const number of numbers) {
    table.learn(announcementOf(number), signed)
    table.hear(hostId(number))
  }
  let nowMs = 0
  const pass = (ms: number, stepMs = 100) => {
    const seen = []
    for (const end = nowMs + ms; nowMs < end;) seen.push(...table.tick((nowMs += stepMs)))
    return seen
  }
  return { table, pass }
}

describe('a member', () => {
  test('is up while it is heard, then suspect, then down, then up again: each told once', () => {
    const { table, pass } = tableWith(1)
    const told = (state: string) => [{ hostId: hostId(1), state }]
    expect(pass(2_400)).toEqual(told('up'))
    expect(pass(200)).toEqual(told('suspect'))
    expect(pass(3_300)).toEqual([])
    expect(pass(200)).toEqual(told('down'))
    expect(pass(60_000)).toEqual([])
    table.hear(hostId(1))
    expect(pass(100)).toEqual(told('up'))
  })

  test('whose connection broke is suspect at once, until it is heard again; down only by its silence', () => {
    const { table, pass } = tableWith(1)
    pass(100)
    table.lose(hostId(1))
    expect(pass(100)).toEqual([{ hostId: hostId(1), state: 'suspect' }])
    table.hear(hostId(1))
    expect(pass(100)).toEqual([{ hostId: hostId(1), state: 'up' }])
    table.lose(hostId(1))
    expect(pass(5_800)).toEqual([{ hostId: hostId(1), state: 'suspect' }])
    expect(pass(200)).toEqual([{ hostId: hostId(1), state: 'down' }])
  })

  test('of whom only others told is suspect until it is heard itself', () => {
    const { table, pass } = tableWith()
    table.learn(announcementOf(1), signed)
    expect(table.get(hostId(1))?.state).toBe('suspect')
    expect(pass(5_900)).toEqual([])
    expect(pass(200)).toEqual([{ hostId: hostId(1), state: 'down' }])
  })

  test('is not taken for silent because this process stood still', () => {
    const { pass } = tableWith(1)
    pass(100)
    expect(pass(60_000, 60_000)).toEqual([])
    expect(pass(1_300)).toEqual([])
    expect(pass(200)).toEqual([{ hostId: hostId(1), state: 'suspect' }])
  })

  test('may be silent longer where members are many and each is pinged less often', () => {
    const { table, pass } = tableWith(1)
    table.stretch = 4
    pass(100)
    expect(pass(9_800)).toEqual([])
    expect(pass(200)).toEqual([{ hostId: hostId(1), state: 'suspect' }])
  })

  test('keeps its newest announcement, in whatever order they come', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 1 }), (revisions) => {
        const { table } = tableWith()
        for (const revision of revisions) {
          const before = table.get(hostId(1))?.announcement.revision ?? -1
          expect(table.learn(announcementOf(1, revision), signed)).toBe(revision > before)
        }
        expect(table.get(hostId(1))?.announcement.revision).toBe(Math.max(...revisions))
      }),
    )
  })
})

test('a full table forgets the member that is down longest, and none that is not down', () => {
  const { table, pass } = tableWith(1, 2, 3, 4)
  pass(100)
  expect(() => table.learn(announcementOf(5), signed)).toThrow(
    expect.objectContaining({ code: 'ERR_MEMBERS_FULL' }),
  )
  pass(3_000)
  table.hear(hostId(2))
  table.hear(hostId(3))
  pass(3_000)
  table.hear(hostId(3))
  pass(3_100)
  expect(table.all().map((member) => member.state)).toEqual(['down', 'down', 'suspect', 'down'])
  expect(table.learn(announcementOf(5), signed)).toBe(true)
  expect(table.size).toBe(4)
  expect(table.get(hostId(2))).toBeDefined()
  expect(table.get(hostId(3))).toBeDefined()
})

test('digests are equal exactly when two hosts know the same', () => {
  const known = fc.uniqueArray(fc.record({ number: fc.integer({ min: 1, max: 4 }), revision: fc.nat(3) }), {
    selector: (each) => each.number,
    maxLength: 4,
  })
  fc.assert(
    fc.property(known, known, fc.nat(3), fc.nat(3), (a, b, ownA, ownB) => {
      const digest = (all: typeof a, own: number) => {
        const { table } = tableWith()
        for (const { number, revision } of all) table.learn(announcementOf(number, revision), signed)
        return table.digest(announcementOf(9, own))
      }
      const text = (all: typeof a, own: number) =>
        JSON.stringify([own, ...all.map((each) => [each.number, each.revision].join()).sort()])
      expect(digest(a, ownA) === digest(b, ownB)).toBe(text(a, ownA) === text(b, ownB))
    }),
  )
})
