/**
 * A host as placement sees it, and whether it can take a replica.
 *
 * A replica lives in one store, so room is judged store by store: a host with two half-full disks of 1 TiB cannot take
 * what needs 1.5 TiB. A host is good if one of its stores is.
 */
import { formatBytes, type HostId, type StoreId } from '@cloudfs/interface'

/**
 * A store is filled with new replicas up to this part of its capacity. The rest is for the writes of the volumes that are
 * there already, and for the cleaner, whose work grows steeply as a log fills up.
 */
export const FILL_LIMIT_DEFAULT = 0.8

/** A store that can hold a replica. Bytes are safe integers. */
export interface StoreCandidate {
  readonly store: StoreId
  readonly capacityBytes: number
  readonly freeBytes: number
}

/** A host that may get a replica. */
export interface HostCandidate {
  readonly host: HostId
  /**
   * Failure domain, from the outside in, parts separated by `/`: `berlin/rack4`. Empty: not labelled. Hosts without a
   * label (or without a further part) count as one domain, since nothing says they fail apart.
   */
  readonly zone: string
  /** Whether the host answers: only `up` is chosen. */
  readonly state: 'up' | 'suspect' | 'down'
  /** An operator is emptying the host: it gets nothing new. */
  readonly draining: boolean
  readonly stores: readonly StoreCandidate[]
}

/** Why a host did not get a replica. `passed-over`: it could have, others were drawn or spread better. */
export type RefusalReason = 'unreachable' | 'draining' | 'no-store' | 'full' | 'passed-over'

/** One host that did not get a replica, for people and for programs. */
export interface Refusal {
  readonly host: HostId
  readonly zone: string
  readonly reason: RefusalReason
  /** One line without the host's name, as in `full: needs 8.00 GiB, …`. */
  readonly text: string
}

/** What a new replica needs. */
export interface Need {
  /** Room that must be left below the fill limit, in bytes. */
  readonly needBytes: number
  readonly fillLimit: number
}

/** A store that is good enough, and what draws of it are weighed by: the room below the fill limit. */
export interface StoreRoom {
  readonly store: StoreId
  readonly roomBytes: number
}

/** A host's good stores, or the refusal if there is none. */
export function assess(host: HostCandidate, need: Need): { rooms: StoreRoom[] } | { refusal: Refusal } {
  const refuse = (reason: RefusalReason, text: string) => ({
    refusal: { host: host.host, zone: host.zone, reason, text },
  })
  if (host.state !== 'up') return refuse('unreachable', `unreachable: its state is ${host.state}`)
  if (host.draining) return refuse('draining', 'draining: an operator is emptying it')
  if (host.stores.length === 0) return refuse('no-store', 'has no store')
  const rooms = host.stores.map((store) => ({ store: store.store, roomBytes: roomBytesOf(store, need) }))
  // An exact fit is a fit, but a store at its limit is full even for a volume that needs nothing yet.
  const good = rooms.filter((each) => each.roomBytes > 0 && each.roomBytes >= need.needBytes)
  if (good.length > 0) return { rooms: good }
  const most = Math.max(0, ...rooms.map((each) => each.roomBytes))
  return refuse(
    'full',
    `full: needs ${formatBytes(need.needBytes)}, its roomiest store has ${formatBytes(most)} below the fill limit of ` +
      `${String(Math.round(need.fillLimit * 100))} %`,
  )
}

function roomBytesOf(store: StoreCandidate, need: Need): number {
  const usedBytes = store.capacityBytes - store.freeBytes
  return Math.floor(store.capacityBytes * need.fillLimit) - usedBytes
}
