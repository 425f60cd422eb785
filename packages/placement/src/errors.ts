/** Errors of placement; docs/errors.md has a row for each. */
import { CloudfsError } from '@cloudfs/interface'

/** A volume cannot have this many replicas, wherever they are. */
export class ReplicaCountError extends CloudfsError {
  readonly code = 'ERR_REPLICA_COUNT'
}

/** Fewer hosts can take a replica than are wanted; `details.refused` says why for each of the others. */
export class TooFewHostsError extends CloudfsError {
  readonly code = 'ERR_TOO_FEW_HOSTS'
}
