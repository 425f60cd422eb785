/**
 * The base of every coded error, and the codes that more than one package knows.
 *
 * What the world does (disks, peers, people, bytes from any of them) is a coded error; what only a bug can do is an
 * assertion. Callers branch on `code`, never on `message`. The engine's C++ half uses the same strings.
 * Each code has a row in docs/errors.md; a test holds the two together.
 */

/** Facts that belong to an error, for logs and `--json` output. `cause` keeps the first error. */
export interface ErrorDetails {
  readonly cause?: unknown
  readonly [name: string]: unknown
}

/** An error that callers can tell apart by `code`. */
export abstract class CloudfsError extends Error {
  /** `ERR_` and what went wrong; stable for ever once released. */
  abstract readonly code: string
  /** Facts given by who threw it: a position, an id, a limit. Never secrets. */
  readonly details: Readonly<Record<string, unknown>>

  constructor(message: string, { cause, ...details }: ErrorDetails = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = new.target.name
    this.details = details
  }
}

/** Whether `error` is a coded error, of this package's copy or another's. */
export function isCloudfsError(error: unknown): error is CloudfsError {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    error.code.startsWith('ERR_')
  )
}

/** Text that should be an id, an epoch or a version is not. */
export class MalformedIdError extends CloudfsError {
  readonly code = 'ERR_MALFORMED_ID'
}

/** Text that should be a size or a duration is not, or the value is out of range. */
export class MalformedQuantityError extends CloudfsError {
  readonly code = 'ERR_MALFORMED_QUANTITY'
}

/** Bytes from a disk or a socket are not what docs/disk-format.md says. Nothing was taken from them. */
export abstract class FormatError extends CloudfsError {}

/** The bytes end before the value does. On a stream, more bytes may help; elsewhere it is damage. */
export class FormatShortError extends FormatError {
  readonly code = 'ERR_FORMAT_SHORT'
}

/** The magic number is another's: these bytes are not such a structure at all. */
export class FormatMagicError extends FormatError {
  readonly code = 'ERR_FORMAT_MAGIC'
}

/** A checksum over the bytes does not hold: they were torn or damaged. */
export class FormatCrcError extends FormatError {
  readonly code = 'ERR_FORMAT_CRC'
}

/** The structure is of a later version than this code reads. */
export class FormatVersionError extends FormatError {
  readonly code = 'ERR_FORMAT_VERSION'
}

/** A field holds a value that version 1 does not allow, reserved bytes that are not zero among them. */
export class FormatFieldError extends FormatError {
  readonly code = 'ERR_FORMAT_FIELD'
}

/** A record does not descend from the one before it, or its token is not what its contents make. */
export class ChainBrokenError extends CloudfsError {
  readonly code = 'ERR_CHAIN_BROKEN'
}

/** No store is at this place. */
export class StoreNotFoundError extends CloudfsError {
  readonly code = 'ERR_STORE_NOT_FOUND'
}

/** A process has the store open. Nothing was read from it. */
export class StoreLockedError extends CloudfsError {
  readonly code = 'ERR_STORE_LOCKED'
}

/** The store was written by a later version of CloudFS. Nothing was changed. */
export class StoreVersionError extends CloudfsError {
  readonly code = 'ERR_STORE_VERSION'
}

/** The store holds damage that recovery must not paper over. Nothing was changed. */
export class StoreCorruptError extends CloudfsError {
  readonly code = 'ERR_STORE_CORRUPT'
}

/** The operating system refused to read or write; `cause` has its code. */
export class StoreIoError extends CloudfsError {
  readonly code = 'ERR_STORE_IO'
}

/** A block's bytes fail their checksum. Retrying will not help; another replica has a good copy. */
export class BlockCorruptError extends CloudfsError {
  readonly code = 'ERR_BLOCK_CORRUPT'
}

/** No volume of this id or name is here. */
export class UnknownVolumeError extends CloudfsError {
  readonly code = 'ERR_UNKNOWN_VOLUME'
}

/** The volume is here, but not this snapshot of it. */
export class UnknownSnapshotError extends CloudfsError {
  readonly code = 'ERR_UNKNOWN_SNAPSHOT'
}

/** Several volumes have this name; `details.volumes` has their ids. */
export class AmbiguousNameError extends CloudfsError {
  readonly code = 'ERR_AMBIGUOUS_NAME'
}
