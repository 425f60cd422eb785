/** Errors of a node; docs/errors.md has a row for each. */
import { CloudfsError } from '@cloudfs/interface'

/** A configuration that cannot be used: an unknown key, a value that is none; nothing was started. */
export class ConfigError extends CloudfsError {
  readonly code = 'ERR_CONFIG'
}

/** The store belongs to another host than the one this node is to be. */
export class HostIdMismatchError extends CloudfsError {
  readonly code = 'ERR_HOST_ID_MISMATCH'
}

/** Another replicator runs in this directory. */
export class NodeRunningError extends CloudfsError {
  readonly code = 'ERR_NODE_RUNNING'
}

/** The engine process did not come up; its log has the cause. */
export class EngineStartError extends CloudfsError {
  readonly code = 'ERR_ENGINE_START'
}

/** No way to the volume's primary just now. */
export class PrimaryAwayError extends CloudfsError {
  readonly code = 'ERR_PRIMARY_AWAY'
}

/** The volume is attached: where, `details.holder` says. */
export class VolumeAttachedError extends CloudfsError {
  readonly code = 'ERR_VOLUME_ATTACHED'
}

/** The volume is not attached at this host. */
export class NotAttachedError extends CloudfsError {
  readonly code = 'ERR_NOT_ATTACHED'
}

/** The volume can be attached at its primary alone; `details.primary` is the host. */
export class NotPrimaryError extends CloudfsError {
  readonly code = 'ERR_NOT_PRIMARY'
}

/** A version that this host no longer knows as the state of a volume, or never knew. */
export class UnknownVersionError extends CloudfsError {
  readonly code = 'ERR_UNKNOWN_VERSION'
}

/** A request over HTTP that its schema refuses. */
export class BadRequestError extends CloudfsError {
  readonly code = 'ERR_BAD_REQUEST'
}

/** The engines of this build do not stream updates to each other yet: a volume has one replica. */
export class ReplicationUnavailableError extends CloudfsError {
  readonly code = 'ERR_REPLICATION_UNAVAILABLE'
}

/** What a host said it keeps room for is no longer kept. */
export class ReservationError extends CloudfsError {
  readonly code = 'ERR_RESERVATION'
}
