/** Errors of local clusters; docs/errors.md has a row for each. */
import { CloudfsError } from '@cloudfs/interface'

/** A local cluster does not do what it should: a node does not start, does not end, or there is none. */
export class ClusterError extends CloudfsError {
  readonly code = 'ERR_DEV_CLUSTER'
}

/** Another program has a port that a node of the cluster is to have. */
export class PortTakenError extends ClusterError {}
