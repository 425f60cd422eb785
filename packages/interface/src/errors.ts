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

/** One copy of the superblock is torn, damaged or not one. */
export class SuperblockCorruptError extends FormatError {
  readonly code = 'ERR_SUPERBLOCK_CORRUPT'
}

/** A segment header is damaged or not one. */
export class SegmentCorruptError extends FormatError {
  readonly code = 'ERR_SEGMENT_CORRUPT'
}

/** A batch's header, directory or layout is damaged or not one. */
export class BatchCorruptError extends FormatError {
  readonly code = 'ERR_BATCH_CORRUPT'
}

/** A run, or what stands in it, is damaged. */
export class RecordCorruptError extends FormatError {
  readonly code = 'ERR_RECORD_CORRUPT'
}

/** A run is intact, but of a later format version. */
export class RecordVersionError extends FormatError {
  readonly code = 'ERR_RECORD_VERSION'
}

/** The payload of a control record, taken by itself, breaks its table. */
export class PayloadInvalidError extends FormatError {
  readonly code = 'ERR_PAYLOAD_INVALID'
}

/** An entry that names no place has a slot or a crc. */
export class EntryCorruptError extends FormatError {
  readonly code = 'ERR_ENTRY_CORRUPT'
}

/** The checkpoint's sections break their table. */
export class CheckpointCorruptError extends FormatError {
  readonly code = 'ERR_CHECKPOINT_CORRUPT'
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

/** There is a store at this place already, or a device to be formatted is not empty. Nothing was changed. */
export class StoreExistsError extends CloudfsError {
  readonly code = 'ERR_STORE_EXISTS'
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

/** A block's bytes differ from their crc or digest. Retrying will not help; another replica has a good copy. */
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

/** The store is a witness of the volume: it keeps no data of it. */
export class WitnessError extends CloudfsError {
  readonly code = 'ERR_WITNESS'
}

/** Several volumes have this name; `details.volumes` has their ids. */
export class AmbiguousNameError extends CloudfsError {
  readonly code = 'ERR_AMBIGUOUS_NAME'
}

/** A message on the engine's control socket is not what its schema asks for. */
export class MalformedMessageError extends CloudfsError {
  readonly code = 'ERR_MALFORMED_MESSAGE'
}

/** A message is longer than both sides allow. The connection ends. */
export class MessageTooLongError extends CloudfsError {
  readonly code = 'ERR_MESSAGE_TOO_LONG'
}

/** The engine has no such command. */
export class UnknownVerbError extends CloudfsError {
  readonly code = 'ERR_UNKNOWN_VERB'
}

/** The engine has no such store, or several and the request names none. */
export class UnknownStoreError extends CloudfsError {
  readonly code = 'ERR_UNKNOWN_STORE'
}

/** The store is starting, has failed or is stopped. */
export class StoreNotReadyError extends CloudfsError {
  readonly code = 'ERR_STORE_NOT_READY'
}

/** A command line says something that the program does not understand. */
export class UsageError extends CloudfsError {
  readonly code = 'ERR_USAGE'
}

/** The connection to the engine ended before it answered. What was asked may have been done. */
export class EngineGoneError extends CloudfsError {
  readonly code = 'ERR_ENGINE_GONE'
}

/** What came to the HTTP port is no request of HTTP/1.1, too long or too slow. The connection ends. */
export class HttpMalformedError extends CloudfsError {
  readonly code = 'ERR_HTTP_MALFORMED'
}

/** Nothing is served at this path. */
export class HttpPathError extends CloudfsError {
  readonly code = 'ERR_HTTP_PATH'
}

/** The path does not take this method. */
export class HttpMethodError extends CloudfsError {
  readonly code = 'ERR_HTTP_METHOD'
}

/** The path asks for an upgrade to a protocol of its own, or another upgrade was asked for. */
export class HttpUpgradeError extends CloudfsError {
  readonly code = 'ERR_HTTP_UPGRADE'
}

/** An engine that asks for a stream has not proved that it holds the key for it. */
export class TicketError extends CloudfsError {
  readonly code = 'ERR_TICKET'
}

/** A connection between engines ended before it became a stream. */
export class StreamLostError extends CloudfsError {
  readonly code = 'ERR_STREAM_LOST'
}

/** The volume's primary is another host. */
export class NotPrimaryError extends CloudfsError {
  readonly code = 'ERR_NOT_PRIMARY'
}

/** What stands behind the `?` of a request is not what its path takes. */
export class HttpQueryError extends CloudfsError {
  readonly code = 'ERR_HTTP_QUERY'
}

/** As many streams are open as there may be. */
export class TooManyStreamsError extends CloudfsError {
  readonly code = 'ERR_TOO_MANY_STREAMS'
}

/** No volume or snapshot is at this version. */
export class UnknownVersionError extends CloudfsError {
  readonly code = 'ERR_UNKNOWN_VERSION'
}

/** Only programs on the same machine may ask for this. */
export class NotLocalError extends CloudfsError {
  readonly code = 'ERR_NOT_LOCAL'
}

/** Two copies of a volume have different histories. */
export class HistoryDivergedError extends CloudfsError {
  readonly code = 'ERR_HISTORY_DIVERGED'
}

/** What a request asks to read or write lies outside the volume, or is no range; the answer tells the volume's size. */
export class RangeUnsatisfiableError extends CloudfsError {
  readonly code = 'ERR_RANGE_UNSATISFIABLE'
}

/** A write's headers do not say where it goes, or say it twice and differently. */
export class HttpRangeError extends CloudfsError {
  readonly code = 'ERR_HTTP_RANGE'
}

/** Nothing in a write's headers says how long it is. */
export class HttpLengthError extends CloudfsError {
  readonly code = 'ERR_HTTP_LENGTH'
}

/** A condition in a request's headers is not one, or not one for its method. */
export class HttpConditionError extends CloudfsError {
  readonly code = 'ERR_HTTP_CONDITION'
}

/** A body is not as long as its headers said, or does not come. */
export class HttpBodyError extends CloudfsError {
  readonly code = 'ERR_HTTP_BODY'
}

/** A request expected the volume at another version. */
export class VersionDiffersError extends CloudfsError {
  readonly code = 'ERR_VERSION_DIFFERS'
}

/** A write that must be there whole or not at all touches more than one update holds. */
export class UpdateTooLongError extends CloudfsError {
  readonly code = 'ERR_UPDATE_TOO_LONG'
}

/** What is to be written is a snapshot. */
export class ReadOnlyError extends CloudfsError {
  readonly code = 'ERR_READ_ONLY'
}

/** The volume is attached: where, `details.holder` says. */
export class VolumeAttachedError extends CloudfsError {
  readonly code = 'ERR_VOLUME_ATTACHED'
}

/** Who serves the volume is not known here just now. */
export class PrimaryUnknownError extends CloudfsError {
  readonly code = 'ERR_PRIMARY_UNKNOWN'
}

/** As many requests as may be are under way. */
export class TooManyRequestsError extends CloudfsError {
  readonly code = 'ERR_TOO_MANY_REQUESTS'
}
