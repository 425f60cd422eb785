import { GIB, HostId, StoreId } from '@cloudfs/interface'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  FILL_LIMIT_DEFAULT,
  type HostCandidate,
  type Placement,
  placeReplicas,
  type Random,
  REPLICA_COUNT_MAX,
  TooFewHostsError,
} from './index.js'
import { domainsOf } from './spread.js'

/** Small, and the same everywhere: three shifts, three exclusive ors. */
function seeded(seed: number): Random {
  let state = seed | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

const id = (number: number) => number.toString(16).padStart(40, '0')

const store = fc
  .record({
    capacityGib: fc.integer({ min: 1, max: 4096 }),
    usedPart: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map(({ capacityGib, usedPart }) => ({
    capacityBytes: capacityGib * GIB,
    freeBytes: Math.floor(capacityGib * GIB * (1 - usedPart)),
  }))

const hosts = fc
  .array(
    fc.record({
      zone: fc.constantFrom('', 'x', 'y', 'z', 'x/1', 'x/2', 'y/1', 'y/1/a', 'y/1/b'),
      state: fc.constantFrom('up', 'up', 'up', 'up', 'suspect', 'down'),
      draining: fc.nat(9).map((n) => n === 0),
      stores: fc.array(store, { maxLength: 3 }),
    }),
    { maxLength: 14 },
  )
  .map((all): HostCandidate[] =>
    all.map((each, index) => ({
      ...each,
      host: HostId.parse(id(index + 1)),
      stores: each.stores.map((one, place) => ({ ...one, store: StoreId.parse(id(100 * index + place)) })),
    })),
  )

const request = fc.record({
  count: fc.integer({ min: 1, max: REPLICA_COUNT_MAX }),
  needBytes: fc.integer({ min: 0, max: 512 }).map((gib) => gib * GIB),
  hosts,
  seed: fc.integer(),
  preferred: fc.option(fc.nat(14), { nil: undefined }),
})

type Given = typeof request extends fc.Arbitrary<infer T> ? T : never

/** The placement, or `undefined` where there are too few hosts. */
function tryPlace({ seed, preferred, ...rest }: Given): Placement | undefined {
  const preferPrimary = preferred === undefined ? {} : { preferPrimary: HostId.parse(id(preferred)) }
  try {
    return placeReplicas({ ...rest, ...preferPrimary }, seeded(seed))
  } catch (error) {
    if (error instanceof TooFewHostsError) return undefined
    throw error
  }
}

/** The placement; a case with too few hosts is passed over. */
function place(given: Given): Placement {
  const placement = tryPlace(given)
  fc.pre(placement !== undefined)
  return placement
}

/** The rule for a good store, written a second time. */
const isGood = (host: HostCandidate, needBytes: number) =>
  host.state === 'up' &&
  !host.draining &&
  host.stores.some((each) => {
    const room = Math.floor(each.capacityBytes * FILL_LIMIT_DEFAULT) - (each.capacityBytes - each.freeBytes)
    return room > 0 && room >= needBytes
  })

test('a placement exists exactly when enough hosts are good', () => {
  fc.assert(
    fc.property(request, (given) => {
      const good = given.hosts.filter((each) => isGood(each, given.needBytes))
      expect(tryPlace(given) !== undefined).toBe(good.length >= given.count)
    }),
  )
})

test('no two replicas share a host, and no host that is full, draining or away is chosen', () => {
  fc.assert(
    fc.property(request, (given) => {
      const { replicas } = place(given)
      expect(new Set(replicas.map((each) => each.host)).size).toBe(given.count)
      for (const replica of replicas) {
        const host = given.hosts.find((each) => each.host === replica.host)!
        expect(
          isGood(
            { ...host, stores: host.stores.filter((each) => each.store === replica.store) },
            given.needBytes,
          ),
        ).toBe(true)
      }
    }),
  )
})

test('replicas lie in as many outer domains as good hosts allow, and no domain has two more than it must', () => {
  fc.assert(
    fc.property(request, (given) => {
      const { replicas } = place(given)
      const outer = (zone: string) => domainsOf(zone)[0]
      const available = new Map<string | undefined, number>()
      for (const each of given.hosts) {
        if (isGood(each, given.needBytes))
          available.set(outer(each.zone), (available.get(outer(each.zone)) ?? 0) + 1)
      }
      const used = new Map([...available.keys()].map((domain) => [domain, 0]))
      for (const each of replicas) used.set(outer(each.zone), used.get(outer(each.zone))! + 1)
      expect([...used.values()].filter((n) => n > 0)).toHaveLength(Math.min(available.size, given.count))
      // A domain that could take one more never holds fewer than another one by two.
      const open = [...used].filter(([domain, n]) => n < available.get(domain)!).map(([, n]) => n)
      expect(Math.max(...used.values()) - Math.min(...open, Infinity)).toBeLessThanOrEqual(1)
    }),
  )
})

test('within an outer domain, replicas share an inner one only when every inner one with a good host has one', () => {
  fc.assert(
    fc.property(request, (given) => {
      const { replicas } = place(given)
      for (const shared of replicas.map((each) => each.zone)) {
        if (replicas.filter((each) => each.zone === shared).length < 2) continue
        const siblings = given.hosts.filter(
          (each) => isGood(each, given.needBytes) && domainsOf(each.zone)[0] === domainsOf(shared)[0],
        )
        const depth2 = (zone: string) => domainsOf(zone)[1] ?? ''
        const empty = siblings.filter(
          (each) =>
            !replicas.some(
              (one) =>
                depth2(one.zone) === depth2(each.zone) && domainsOf(one.zone)[0] === domainsOf(each.zone)[0],
            ),
        )
        expect(empty).toEqual([])
      }
    }),
  )
})

test('each host is either chosen or refused with a reason, and the preferred one is primary if it is good', () => {
  fc.assert(
    fc.property(request, (given) => {
      const { replicas, refused } = place(given)
      const named = [...replicas.map((each) => each.host), ...refused.map((each) => each.host)]
      expect(named.sort()).toEqual(given.hosts.map((each) => each.host).sort())
      expect(refused.every((each) => each.text.length > 0)).toBe(true)
      const preferred = given.hosts.find((each) => each.host === id(given.preferred ?? 0))
      if (preferred && isGood(preferred, given.needBytes)) expect(replicas[0]?.host).toBe(preferred.host)
    }),
  )
})

test('the same seed makes the same choice', () => {
  fc.assert(
    fc.property(request, (given) => {
      expect(tryPlace(given)).toEqual(tryPlace(given))
    }),
  )
})

test('over many draws each host is chosen in proportion to its room', () => {
  const seed = Math.trunc(Math.random() * 2 ** 32)
  const random = seeded(seed)
  const draws = 20_000
  const weights = [1, 2, 3, 4]
  const counts = new Map<string, number>()
  const candidates = weights.map((weight, index): HostCandidate => {
    const one = {
      store: StoreId.parse(id(index)),
      capacityBytes: 1000 * GIB,
      freeBytes: (200 + 80 * weight) * GIB,
    }
    return { host: HostId.parse(id(index)), zone: '', state: 'up', draining: false, stores: [one] }
  })
  for (let draw = 0; draw < draws; draw++) {
    const { replicas } = placeReplicas({ count: 1, needBytes: GIB, hosts: candidates }, random)
    for (const each of replicas) counts.set(each.host, (counts.get(each.host) ?? 0) + 1)
  }
  for (const [index, weight] of weights.entries()) {
    const chance = weight / 10
    // Six standard deviations: a false alarm once in 500 million runs.
    const slack = 6 * Math.sqrt(draws * chance * (1 - chance))
    const drawn = counts.get(id(index)) ?? 0
    expect(Math.abs(drawn - draws * chance), `seed ${String(seed)}, weight ${String(weight)}`).toBeLessThan(
      slack,
    )
  }
})
