/**
 * Makes volumes on several hosts, in two steps: the chosen hosts keep room, then the primary makes the creation record,
 * which names them all. Before that record there is nothing but reservations, which expire; after it the volume's primary
 * finishes what is left, whatever becomes of who asked (leading.ts).
 */
import { randomBytes } from 'node:crypto'
import type { Answer, Body } from '@cloudfs/http'
import { bytesToHex, HostId, isCloudfsError, type StoreId } from '@cloudfs/interface'
import type { PeerNode } from '@cloudfs/peers'
import { type HostCandidate, placeReplicas, type Placement, type ReplicaPlace } from '@cloudfs/placement'
import type { Logger } from 'pino'
import { askCreate, askRelease, askReserve, type Made, type Member } from './peer-requests.js'
import { Reservations } from './reservations.js'
import type { VolumePlan } from './volume-maker.js'

/** Room that a new replica needs at first: volumes are thin. */
const FIRST_BYTES_MAX = 64 * 1024 ** 2
/** Longer than the primary waits for a majority. */
const CREATE_TIMEOUT_MS = 25_000

/** What making a volume does to the world: this host's part of it, and what it asks of others. */
export interface CreationEffects {
  reserve(place: ReplicaPlace, reservation: string, needBytes: number): Promise<void>
  release(host: HostId, reservation: string): Promise<void>
  create(primary: HostId, plan: VolumePlan): Promise<Made>
}

interface CreationOptions {
  readonly host: HostId
  /** This host and the others, as placement sees them. */
  readonly candidates: () => Promise<HostCandidate[]>
  /** A member's part of the view. */
  readonly member: (host: string, store: string) => Member
  readonly effects: CreationEffects
  readonly log: Logger
}

interface Reserved {
  readonly placement: Placement
  readonly members: Member[]
  readonly reservation: string
}

export class Creation {
  readonly #options: CreationOptions

  constructor(options: CreationOptions) {
    this.#options = options
  }

  /**
   * Resolves when the creation is committed: a majority of the hosts has it.
   *
   * @throws {TooFewHostsError} nothing was made
   * @throws {CreationGivenUpError} too few of the chosen hosts took it; nothing stays
   * @throws what reaching the primary fails with; the volume may come to be
   */
  async create(request: Body<'newVolume'>): Promise<Answer<'newVolume'>> {
    const { host, effects } = this.#options
    const needBytes = Math.min(request.sizeBytes, FIRST_BYTES_MAX)
    const { placement, members, reservation } = await this.#reserve(request, needBytes)
    const { sizeBytes, name, mode } = request
    const primary = HostId.parse(placement.replicas[0]?.host ?? host)
    try {
      const made = await effects.create(primary, { sizeBytes, name, mode, members })
      return {
        volume: made.volume,
        version: made.version,
        replicas: placement.replicas.map((place) => ({ ...place, isInStep: isInStep(made, primary, place) })),
        ...(placement.witness && { witness: placement.witness }),
        notes: placement.notes.map(({ text }) => text),
      }
    } finally {
      await this.#release(placement, reservation)
    }
  }

  /** Chooses hosts and has them keep room; one that declines is left out and the choice made again. */
  async #reserve(
    { replicas: count, witness: withWitness }: Body<'newVolume'>,
    needBytes: number,
  ): Promise<Reserved> {
    const { host, candidates, effects, log, member } = this.#options
    const declined = new Set<string>()
    for (;;) {
      const hosts = (await candidates()).map((each) =>
        declined.has(each.host) ? { ...each, state: 'suspect' as const } : each,
      )
      const placement = placeReplicas(
        { count, needBytes, hosts, preferPrimary: host, withWitness },
        Math.random,
      )
      const places = placesOf(placement)
      const reservation = bytesToHex(randomBytes(20))
      const asked = await Promise.allSettled(
        places.map((place) =>
          effects.reserve(place, reservation, place === placement.witness ? 0 : needBytes),
        ),
      )
      const failed = asked.flatMap((each, index) =>
        each.status === 'rejected' ? [{ error: each.reason as unknown, place: places[index] }] : [],
      )
      if (failed.length === 0) {
        const members = places.map((place) => ({
          ...member(place.host, place.store),
          ...(place === placement.witness && { isWitness: true }),
        }))
        return { placement, members, reservation }
      }
      await this.#release(placement, reservation)
      for (const { error, place } of failed) {
        if (!isCloudfsError(error) || place === undefined) throw error
        log.info({ host: place.host, err: error }, 'declines to take a replica')
        declined.add(place.host)
      }
    }
  }

  /** A host that does not hear of it keeps the room a little longer. */
  async #release(placement: Placement, reservation: string): Promise<void> {
    const { effects, log } = this.#options
    const asked = await Promise.allSettled(
      placesOf(placement).map(({ host }) => effects.release(host, reservation)),
    )
    for (const each of asked)
      if (each.status === 'rejected') log.info({ err: each.reason as unknown }, 'not released')
  }
}

function placesOf({ replicas, witness }: Placement): ReplicaPlace[] {
  return [...replicas, ...(witness === undefined ? [] : [witness])]
}

function isInStep(made: Made, primary: HostId, { host }: ReplicaPlace): boolean {
  return host === primary || made.inStep.includes(host)
}

interface EffectsOptions {
  readonly host: HostId
  readonly peers: PeerNode
  readonly candidates: () => Promise<HostCandidate[]>
  readonly store: () => StoreId
  /** Makes a volume of which this host is the primary. */
  readonly make: (plan: VolumePlan) => Promise<Made>
}

/** The real effects; this host's own part is answered without the network, to others as well. */
export function creationEffects({ host, peers, candidates, store, make }: EffectsOptions): CreationEffects {
  const reservations = new Reservations(() => performance.now())
  const keepRoom = async (message: {
    reservation: string
    needBytes: number
  }): Promise<{ store: string }> => {
    const own = (await candidates()).find((each) => each.host === host)
    reservations.keep(message.reservation, message.needBytes, own?.stores[0]?.freeBytes ?? 0)
    return { store: store() }
  }
  peers.handle(askReserve, keepRoom)
  peers.handle(askRelease, ({ reservation }) => {
    reservations.release(reservation)
    return {}
  })
  peers.handle(askCreate, (plan) => make(plan))
  return {
    async reserve(place, reservation, needBytes) {
      const message = { reservation, store: place.store, needBytes }
      if (place.host === host) await keepRoom(message)
      else await peers.request(place.host, askReserve, message)
    },
    async release(from, reservation) {
      if (from === host) reservations.release(reservation)
      else await peers.request(from, askRelease, { reservation })
    },
    create(primary, plan) {
      if (primary === host) return make(plan)
      const { sizeBytes, name, mode, members } = plan
      const message = { sizeBytes, name, mode, members: [...members] }
      return peers.request(primary, askCreate, message, { timeoutMs: CREATE_TIMEOUT_MS })
    },
  }
}
