/**
 * Which hosts get the replicas of a volume. Pure.
 */
export { FILL_LIMIT_DEFAULT } from './candidate.js'
export type { HostCandidate, Refusal, RefusalReason, StoreCandidate } from './candidate.js'
export { ReplicaCountError, TooFewHostsError } from './errors.js'
export { placeReplicas, REPLICA_COUNT_MAX } from './place-replicas.js'
export type { Placement, PlacementNote, PlacementRequest, ReplicaPlace } from './place-replicas.js'
export type { Random } from './weighted-draw.js'
