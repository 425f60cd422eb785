/**
 * Which hosts get the replicas of a volume: distinct hosts, as many failure domains as there are, only hosts with room,
 * random among the good in proportion to their room.
 *
 * The choice is advice: it rests on what hosts said of themselves a moment ago. Whoever creates the volume asks the
 * chosen hosts and chooses again if one declines.
 */
import assert from 'node:assert'
import type { HostId, StoreId } from '@cloudfs/interface'
import {
  assess,
  FILL_LIMIT_DEFAULT,
  type HostCandidate,
  type Need,
  type Refusal,
  type StoreRoom,
} from './candidate.js'
import { ReplicaCountError, TooFewHostsError } from './errors.js'
import { majorityDomain, widest } from './spread.js'
import { type Random, weightedDraw } from './weighted-draw.js'

/** Replicas of one volume at most: the primary sends each write to all of them, and 7 survive the loss of 3. */
export const REPLICA_COUNT_MAX = 7

/** Room for what a witness keeps between two checkpoints: headers. */
const WITNESS_BYTES = 16 * 1024 ** 2

export interface PlacementRequest {
  /** Replicas wanted, 1 to `REPLICA_COUNT_MAX`. */
  readonly count: number
  /** Room each replica needs at first, in bytes. */
  readonly needBytes: number
  /** Each host once. */
  readonly hosts: readonly HostCandidate[]
  /** Becomes the primary if it can take a replica: the host where the volume will be attached. */
  readonly preferPrimary?: HostId
  /** One more host, which keeps no data of the volume and votes. */
  readonly withWitness?: boolean
  /** Part of a store that new replicas may fill; `FILL_LIMIT_DEFAULT`. */
  readonly fillLimit?: number
}

/** A place for one replica. */
export interface ReplicaPlace {
  readonly host: HostId
  readonly store: StoreId
  readonly zone: string
}

/** Something an operator should know about a placement that is otherwise good. */
export interface PlacementNote {
  readonly kind: 'one-copy' | 'two-copies' | 'even-count' | 'primary-elsewhere' | 'domain-majority'
  readonly text: string
}

export interface Placement {
  /** The primary first. */
  readonly replicas: readonly ReplicaPlace[]
  readonly witness?: ReplicaPlace
  /** Every other host, and why. */
  readonly refused: readonly Refusal[]
  readonly notes: readonly PlacementNote[]
}

interface GoodHost {
  readonly candidate: HostCandidate
  readonly zone: string
  readonly rooms: readonly StoreRoom[]
  readonly roomBytes: number
}

/**
 * Chooses hosts and stores. Draws two random numbers a replica, so a seeded source replays the choice.
 *
 * @throws {ReplicaCountError} `count` is not a whole number from 1 to `REPLICA_COUNT_MAX`
 * @throws {TooFewHostsError} fewer than `count` hosts can take a replica
 */
export function placeReplicas(request: PlacementRequest, random: Random): Placement {
  const { count, hosts, preferPrimary } = request
  if (!Number.isInteger(count) || count < 1 || count > REPLICA_COUNT_MAX) {
    throw new ReplicaCountError(
      `${String(count)} replicas: a volume has 1 to ${String(REPLICA_COUNT_MAX)} of them`,
    )
  }
  assert(new Set(hosts.map((each) => each.host)).size === hosts.length, 'each host is given once')
  const need: Need = { needBytes: request.needBytes, fillLimit: request.fillLimit ?? FILL_LIMIT_DEFAULT }
  const { good, refused } = sortOut(hosts, need)
  if (good.length < count) throw tooFew(count, good, refused)

  const chosen: GoodHost[] = []
  const replicas: ReplicaPlace[] = []
  while (chosen.length < count) {
    const left = good.filter((each) => !chosen.includes(each))
    const preferred =
      chosen.length === 0 ? left.find((each) => each.candidate.host === preferPrimary) : undefined
    // The draw is made even where it cannot matter: the numbers a choice consumes depend on `count` alone.
    const drawn = weightedDraw(widest(left, chosen), (each) => each.roomBytes, random)
    const host = preferred ?? drawn
    const { store } = weightedDraw(host.rooms, (each) => each.roomBytes, random)
    chosen.push(host)
    replicas.push({ host: host.candidate.host, store, zone: host.zone })
  }
  const witness = request.withWitness === true ? placeWitness(request, need, chosen, random) : undefined
  const passedOver = good
    .filter((each) => !chosen.includes(each) && each.candidate.host !== witness?.host)
    .map(passOver)
  const all = [...refused.filter(({ host }) => host !== witness?.host), ...passedOver]
  const notes = notesOn(replicas, all, hosts, preferPrimary).filter(
    ({ kind }) => kind !== 'two-copies' || witness === undefined,
  )
  return { replicas, ...(witness && { witness }), refused: all, notes }
}

/** As far from the replicas as there is a host: it is to be there when one of them is gone. */
function placeWitness(
  { hosts, count }: PlacementRequest,
  { fillLimit }: Need,
  chosen: readonly GoodHost[],
  random: Random,
): ReplicaPlace {
  const { good, refused } = sortOut(
    hosts.filter(({ host }) => !chosen.some((each) => each.candidate.host === host)),
    { needBytes: WITNESS_BYTES, fillLimit },
  )
  if (good.length === 0) throw tooFew(count + 1, chosen, refused)
  const host = weightedDraw(widest(good, chosen), (each) => each.roomBytes, random)
  const { store } = weightedDraw(host.rooms, (each) => each.roomBytes, random)
  return { host: host.candidate.host, store, zone: host.zone }
}

function sortOut(hosts: readonly HostCandidate[], need: Need): { good: GoodHost[]; refused: Refusal[] } {
  const good: GoodHost[] = []
  const refused: Refusal[] = []
  for (const candidate of hosts) {
    const verdict = assess(candidate, need)
    if ('refusal' in verdict) {
      refused.push(verdict.refusal)
    } else {
      const roomBytes = verdict.rooms.reduce((sum, each) => sum + each.roomBytes, 0)
      good.push({ candidate, zone: candidate.zone, rooms: verdict.rooms, roomBytes })
    }
  }
  return { good, refused }
}

function passOver({ candidate }: GoodHost): Refusal {
  const text = 'passed over: it has room, but others were drawn or spread the replicas wider'
  return { host: candidate.host, zone: candidate.zone, reason: 'passed-over', text }
}

function tooFew(count: number, good: readonly GoodHost[], refused: readonly Refusal[]): TooFewHostsError {
  const missing = count - good.length
  const advice = [
    refused.length === 0
      ? `start ${plural(missing, 'more node')}`
      : 'mend one of these, or start another node',
    ...(good.length > 0 ? [`or ask for ${plural(good.length, 'replica')}`] : []),
  ].join(', ')
  const lines = refused.map((each) => `\n  ${each.host}: ${each.text}`)
  return new TooFewHostsError(
    `${plural(count, 'replica')} wanted, but ${plural(good.length, 'host')} can take one: ${advice}${lines.join('')}`,
    { wanted: count, found: good.length, missing, refused },
  )
}

function notesOn(
  replicas: readonly ReplicaPlace[],
  refused: readonly Refusal[],
  hosts: readonly HostCandidate[],
  preferPrimary: HostId | undefined,
): PlacementNote[] {
  const notes: PlacementNote[] = []
  const count = replicas.length
  if (count === 1) {
    notes.push({ kind: 'one-copy', text: 'one copy: the volume is lost if this host loses its disk' })
  } else if (count === 2) {
    notes.push({
      kind: 'two-copies',
      text:
        'two copies: a majority of two is both, so the volume pauses whenever either host is away, and no data is lost; ' +
        'a third host, be it only a witness, lets it go on',
    })
  } else if (count % 2 === 0) {
    notes.push({
      kind: 'even-count',
      text: `${String(count)} copies go on after the loss of ${String(count / 2 - 1)} hosts, as ${String(count - 1)} do`,
    })
  }
  if (preferPrimary !== undefined && replicas[0]?.host !== preferPrimary) {
    const why = refused.find((each) => each.host === preferPrimary)?.text ?? 'it is not among the known hosts'
    notes.push({ kind: 'primary-elsewhere', text: `the primary is not ${preferPrimary}: ${why}` })
  }
  const heavy = count > 1 ? majorityDomain(replicas, hosts) : undefined
  if (heavy !== undefined) {
    notes.push({
      kind: 'domain-majority',
      text: `${heavy.domain} holds ${String(heavy.count)} of ${String(count)} copies: the volume pauses while it is away`,
    })
  }
  return notes
}

function plural(count: number, noun: string): string {
  return `${String(count)} ${noun}${count === 1 ? '' : 's'}`
}
