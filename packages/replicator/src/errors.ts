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

/** The volume is not attached at this host. */
export class NotAttachedError extends CloudfsError {
  readonly code = 'ERR_NOT_ATTACHED'
}

/** A volume is attached at as many hosts as its record holds. */
export class TooManyHoldersError extends CloudfsError {
  readonly code = 'ERR_TOO_MANY_HOLDERS'
}

/** The host whose attachment is to be given up is there. */
export class HolderUpError extends CloudfsError {
  readonly code = 'ERR_HOLDER_UP'
}

/** Too few of a volume's replicas are there for a change of it to be committed. */
export class NoMajorityError extends CloudfsError {
  readonly code = 'ERR_NO_MAJORITY'
}

/** The host is none of those that keep the volume. */
export class NotMemberError extends CloudfsError {
  readonly code = 'ERR_NOT_MEMBER'
}

/** A version that this host no longer knows as the state of a volume, or never knew. */
export class UnknownVersionError extends CloudfsError {
  readonly code = 'ERR_UNKNOWN_VERSION'
}

/** A request over HTTP that its schema refuses. */
export class BadRequestError extends CloudfsError {
  readonly code = 'ERR_BAD_REQUEST'
}

/** A volume was not made: no majority of the chosen hosts took it. */
export class CreationGivenUpError extends CloudfsError {
  readonly code = 'ERR_CREATION_GIVEN_UP'
}

/** What a host said it keeps room for is no longer kept. */
export class ReservationError extends CloudfsError {
  readonly code = 'ERR_RESERVATION'
}
