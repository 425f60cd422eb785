import { GIB, HostId, StoreId, TIB } from '@cloudfs/interface'
import { describe, expect, test } from 'vitest'
import { type HostCandidate, placeReplicas, type PlacementRequest } from './index.js'

const hostId = (digit: string) => HostId.parse(digit.repeat(40))
const storeId = (digit: string) => StoreId.parse(digit.repeat(40))

/** A host whose id is `digit` repeated, up, with one store of 1 TiB that is half full unless told otherwise. */
function host(digit: string, zone = '', changes: Partial<HostCandidate> & { freeBytes?: number } = {}) {
  const { freeBytes = TIB / 2, ...rest } = changes
  const stores = [{ store: storeId(digit), capacityBytes: TIB, freeBytes }]
  return { host: hostId(digit), zone, state: 'up', draining: false, stores, ...rest } satisfies HostCandidate
}

/** The same numbers for each run of a test; which ones does not matter. */
function place(request: Partial<PlacementRequest> & { hosts: HostCandidate[] }, seed = 1) {
  let state = seed
  const random = () => (state = (state * 48271) % 2147483647) / 2147483647
  return placeReplicas({ count: 3, needBytes: 8 * GIB, ...request }, random)
}

const kinds = (placement: ReturnType<typeof place>) => placement.notes.map((note) => note.kind)

describe('4 hosts, 2 zones, one full', () => {
  const hosts = [
    host('a', 'east'),
    host('b', 'east', { freeBytes: GIB }),
    host('c', 'west'),
    host('d', 'west'),
  ]

  test('two replicas go to one host of each zone, never to the full one', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const { replicas, refused } = place({ hosts, count: 2 }, seed)
      expect(replicas.map((each) => each.zone).sort(), `seed ${String(seed)}`).toEqual(['east', 'west'])
      expect(replicas.map((each) => each.host)).toContain(hostId('a'))
      expect(refused.find((each) => each.host === hostId('b'))).toMatchObject({ reason: 'full' })
    }
  })

  test('three replicas take every good host, and the zone that then holds a majority is named', () => {
    const placement = place({ hosts })
    expect(placement.replicas.map((each) => each.host).sort()).toEqual([
      hostId('a'),
      hostId('c'),
      hostId('d'),
    ])
    expect(placement.notes).toEqual([
      { kind: 'domain-majority', text: 'west holds 2 of 3 copies: the volume pauses while it is away' },
    ])
  })

  test('four replicas are refused, with how many are missing and why each host was refused', () => {
    expect(() => place({ hosts, count: 4 })).toThrow(
      expect.objectContaining({
        code: 'ERR_TOO_FEW_HOSTS',
        message:
          '4 replicas wanted, but 3 hosts can take one: mend one of these, or start another node, or ask for 3 replicas\n' +
          `  ${hostId('b')}: full: needs 8.00 GiB, its roomiest store has 0 B below the fill limit of 80 %`,
        details: {
          wanted: 4,
          found: 3,
          missing: 1,
          refused: [expect.objectContaining({ host: hostId('b'), reason: 'full' })],
        },
      }),
    )
  })
})

test('every host that gets nothing is given its reason', () => {
  const hosts = [
    host('0'),
    host('1', '', { state: 'down' }),
    host('2', '', { state: 'suspect' }),
    host('3', '', { draining: true }),
    host('4', '', { stores: [] }),
    host('5', '', { freeBytes: 0 }),
    host('6'),
  ]
  const { replicas, refused } = place({ hosts, count: 1, preferPrimary: hostId('0') })
  expect(replicas.map((each) => each.host)).toEqual([hostId('0')])
  expect(refused.map((each) => [each.host[0], each.reason])).toEqual([
    ['1', 'unreachable'],
    ['2', 'unreachable'],
    ['3', 'draining'],
    ['4', 'no-store'],
    ['5', 'full'],
    ['6', 'passed-over'],
  ])
})

test('the preferred host is the primary', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const hosts = [host('a'), host('b'), host('c'), host('d')]
    expect(place({ hosts, preferPrimary: hostId('c') }, seed).replicas[0]?.host).toBe(hostId('c'))
  }
})

test('a preferred host that cannot be the primary is passed over with a note that says why', () => {
  const hosts = [host('a'), host('b'), host('c'), host('d', '', { draining: true })]
  expect(place({ hosts, preferPrimary: hostId('d') }).notes).toEqual([
    {
      kind: 'primary-elsewhere',
      text: `the primary is not ${hostId('d')}: draining: an operator is emptying it`,
    },
  ])
  expect(place({ hosts, preferPrimary: hostId('e') }).notes[0]?.text).toMatch(/not among the known hosts$/)
})

test('one, two and an even number of copies are told what they mean; three and five need no note', () => {
  const hosts = ['a', 'b', 'c', 'd', 'e'].map((digit) => host(digit))
  expect(kinds(place({ hosts, count: 1 }))).toEqual(['one-copy'])
  expect(kinds(place({ hosts, count: 2 }))).toEqual(['two-copies'])
  expect(place({ hosts, count: 2 }).notes[0]?.text).toMatch(/majority of two is both.*witness/)
  expect(kinds(place({ hosts, count: 3 }))).toEqual([])
  expect(place({ hosts, count: 4 }).notes).toEqual([
    { kind: 'even-count', text: '4 copies go on after the loss of 1 hosts, as 3 do' },
  ])
  expect(kinds(place({ hosts, count: 5 }))).toEqual([])
})

test('a replica is given a store that has room for it', () => {
  const stores = [
    { store: storeId('0'), capacityBytes: TIB, freeBytes: TIB / 4 },
    { store: storeId('1'), capacityBytes: 4 * TIB, freeBytes: 3 * TIB },
  ]
  const { replicas } = place({ hosts: [host('a', '', { stores })], count: 1, needBytes: TIB })
  expect(replicas[0]?.store).toBe(storeId('1'))
})

test('room is judged store by store, not by what a host has in all', () => {
  const stores = ['0', '1'].map((digit) => ({ store: storeId(digit), capacityBytes: TIB, freeBytes: TIB }))
  const hosts = [host('a', '', { stores })]
  expect(() => place({ hosts, count: 1, needBytes: 1.2 * TIB })).toThrow(/full/)
})

test('a store takes new replicas exactly up to the fill limit', () => {
  const free = { freeBytes: 600 * GIB }
  const fits = { count: 1, fillLimit: 0.5, needBytes: 88 * GIB }
  expect(place({ ...fits, hosts: [host('a', '', free)] }).replicas).toHaveLength(1)
  expect(() => place({ ...fits, needBytes: 88 * GIB + 1, hosts: [host('a', '', free)] })).toThrow(/full/)
})

test.each([0, 8, 1.5, -1, Number.NaN])('%d replicas are refused', (count) => {
  expect(() => place({ hosts: [host('a')], count })).toThrow(
    expect.objectContaining({ code: 'ERR_REPLICA_COUNT' }),
  )
})

test('an empty cluster is told to start nodes', () => {
  expect(() => place({ hosts: [] })).toThrow(
    '3 replicas wanted, but 0 hosts can take one: start 3 more nodes',
  )
})

test('racks within a zone are kept apart as well', () => {
  const hosts = [host('a', 'x/1'), host('b', 'x/1'), host('c', 'x/2'), host('d', 'y/1'), host('e', 'y')]
  for (let seed = 1; seed <= 100; seed++) {
    const zones = place({ hosts, count: 4 }, seed).replicas.map((each) => each.zone)
    expect(zones.sort(), `seed ${String(seed)}`).toEqual(['x/1', 'x/2', 'y', 'y/1'])
  }
})
