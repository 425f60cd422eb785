/**
 * Making a volume in two steps, cut at each of them. Goal: what is left is a volume, or reservations that run out. Method:
 * the creation's effects are those of a small world in memory, where one of them fails, with or without having been done.
 */
import { HostId, StoreId } from '@cloudfs/interface'
import type { HostCandidate } from '@cloudfs/placement'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { Creation, type CreationEffects } from './creation.js'
import { CreationGivenUpError, PrimaryAwayError, ReservationError } from './errors.js'

const hostOf = (index: number) => HostId.parse(`1${String(index)}`.repeat(20))
const storeOf = (index: number) => StoreId.parse(`a${String(index)}`.repeat(20))
const log = pino({ level: 'silent' })
const request = { replicas: 3, sizeBytes: 1 << 30, name: 'disk', mode: 'quorum', witness: false } as const

type Step = 'reserve' | 'create' | 'release'

/** Hosts with the reservations they keep, and the volumes that were made. */
class World implements CreationEffects {
  readonly kept = new Map<string, Set<string>>()
  readonly made: string[][] = []
  readonly refuses = new Map<string, Error>()
  /** The n-th effect of this kind fails: before it is done, or after. */
  cut: { step: Step; count: number; isDone: boolean } | undefined

  readonly #hostCount: number

  constructor(hostCount: number) {
    this.#hostCount = hostCount
  }

  candidates = (): Promise<HostCandidate[]> =>
    Promise.resolve(
      Array.from({ length: this.#hostCount }, (_, index) => ({
        host: hostOf(index),
        zone: '',
        state: 'up' as const,
        draining: false,
        stores: [{ store: storeOf(index), capacityBytes: 2 ** 40, freeBytes: 2 ** 40 }],
      })),
    )

  async reserve({ host }: { host: HostId }, reservation: string): Promise<void> {
    await this.#step('reserve', () => {
      const refusal = this.refuses.get(host)
      if (refusal !== undefined) throw refusal
      this.kept.set(host, (this.kept.get(host) ?? new Set()).add(reservation))
    })
  }

  async release(host: HostId, reservation: string): Promise<void> {
    await this.#step('release', () => this.kept.get(host)?.delete(reservation))
  }

  async create(_primary: HostId, { members }: { members: readonly { host: string }[] }) {
    await this.#step('create', () => this.made.push(members.map(({ host }) => host)))
    return { volume: 'v', version: 'v', lsn: 1, inStep: [hostOf(1)] }
  }

  reservationCount(): number {
    return [...this.kept.values()].reduce((sum, each) => sum + each.size, 0)
  }

  creation(): Creation {
    return new Creation({
      host: hostOf(0),
      candidates: this.candidates,
      member: (host, store) => ({ host, store, publicKey: '00'.repeat(32) }),
      effects: this,
      log,
    })
  }

  async #step(step: Step, act: () => unknown): Promise<void> {
    const cut = this.cut?.step === step && --this.cut.count === 0 ? this.cut : undefined
    if (cut?.isDone !== false) await Promise.resolve(act())
    if (cut !== undefined) throw new PrimaryAwayError('cut here')
  }
}

test('a volume is made where room is kept, the primary here, and nothing stays reserved', async () => {
  const world = new World(3)
  const made = await world.creation().create(request)
  expect(made.replicas[0]).toMatchObject({ host: hostOf(0), isInStep: true })
  expect(made.replicas.filter(({ isInStep }) => isInStep)).toHaveLength(2)
  expect(world.made).toEqual([made.replicas.map(({ host }) => host)])
  expect(world.reservationCount()).toBe(0)
})

test.each(
  (['reserve', 'create', 'release'] as const).flatMap((step) =>
    [1, 2, 3].flatMap((count) => [false, true].map((isDone) => ({ step, count, isDone }))),
  ),
)('cut at %j, there is one whole volume or none', async (cut) => {
  const world = new World(4)
  world.cut = { ...cut }
  const result = await world
    .creation()
    .create(request)
    .then(
      () => 'made',
      (error: unknown) => (error as { code: string }).code,
    )
  const isLost = cut.step === 'create' && cut.count === 1
  expect(result).toBe(isLost ? 'ERR_PRIMARY_AWAY' : 'made')
  expect(world.made).toHaveLength(isLost && !cut.isDone ? 0 : 1)
  for (const members of world.made) expect(new Set(members).size).toBe(3)
  // What a host could not be told to give back, or gave unheard, runs out by itself.
  const unheard = cut.step === 'release' && !cut.isDone ? 1 : 0
  expect(world.reservationCount()).toBe(unheard)
})

test('a host that declines is passed over, and too few of them is refused with what to do', async () => {
  const world = new World(4)
  world.refuses.set(hostOf(2), new ReservationError('no room'))
  await world.creation().create(request)
  expect(world.made[0]).not.toContain(hostOf(2))
  world.refuses.set(hostOf(1), new ReservationError('no room'))
  await expect(world.creation().create(request)).rejects.toMatchObject({
    code: 'ERR_TOO_FEW_HOSTS',
    message: expect.stringContaining('start another node'),
  })
  expect(world.made).toHaveLength(1)
  expect(world.reservationCount()).toBe(0)
})

test('a creation that was given up leaves no reservation', async () => {
  const world = new World(3)
  world.create = () => Promise.reject(new CreationGivenUpError('no majority'))
  await expect(world.creation().create(request)).rejects.toMatchObject({ code: 'ERR_CREATION_GIVEN_UP' })
  expect(world.reservationCount()).toBe(0)
})
