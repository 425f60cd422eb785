/**
 * The chain (docs/disk-format.md, Record descriptor; Lithium §3.4.1): each record's token follows from the one before,
 * and its hash, the public id, names the volume's state. Who does not know the view's stamp sees that parents hash to
 * the public ids before them; once the stamp is revealed, anyone can recompute every token of the view.
 */
import {
  ChainBrokenError,
  type Epoch,
  HostId,
  type Lsn,
  SessionId,
  Stamp,
  StampHash,
  Token,
  VersionId,
} from '@cloudfs/interface'
import { ByteWriter } from './byte-writer.js'
import { hash160 } from './hash.js'
import { encodeContent, FLAG_FORCE, type LogRecord, RECORD_KINDS } from './record.js'
import type { RecordsRun } from './run.js'

/** The public id of the state whose token this is. */
export function publicOf(token: Token): VersionId {
  return VersionId.fromBytes(hash160(Token.toBytes(token)))
}

/** What a view shows of its stamp. */
export function stampHashOf(stamp: Stamp): StampHash {
  return StampHash.fromBytes(hash160(Stamp.toBytes(stamp)))
}

/** `H` over the digests of the record's data blocks. */
export function bodyDigestOf(record: LogRecord): Uint8Array {
  return hash160(...(record.kind === 'write' ? record.sums.map((sum) => sum.digest) : []))
}

/** The token of a record. Of `run` the epoch and session are used. */
export function tokenOf(
  stamp: Stamp,
  run: Pick<RecordsRun, 'epoch' | 'session'>,
  lsn: Lsn,
  record: LogRecord,
): Token {
  return tokenOfLink(stamp, linkOf(run, lsn, record))
}

/** Bytes of a link without extents or payload. */
export const LINK_BYTES_MIN = 104

/** All that a record's token is made of but the stamp: who keeps it has the token as soon as it has the stamp. */
export function linkOf(run: Pick<RecordsRun, 'epoch' | 'session'>, lsn: Lsn, record: LogRecord): Uint8Array {
  const writer = new ByteWriter()
  writer.id(Token, record.parent).epoch(run.epoch).u64(lsn).id(SessionId, run.session)
  writer.u64(record.requestSequence).oneOf(RECORD_KINDS, record.kind)
  writer
    .u8(record.kind === 'write' ? 0 : record.flags)
    .u16(record.kind === 'write' ? record.extents.length : 0)
  return writer.bytes(encodeContent(record)).bytes(bodyDigestOf(record)).finish()
}

export function tokenOfLink(stamp: Stamp, link: Uint8Array): Token {
  return Token.fromBytes(hash160(Stamp.toBytes(stamp), link))
}

/** Where a link's record stands; of a link of at least `LINK_BYTES_MIN` bytes. */
export function placeOfLink(link: Uint8Array): { epoch: Epoch; lsn: bigint } {
  const view = new DataView(link.buffer, link.byteOffset, link.byteLength)
  const epoch = {
    counter: Number(view.getBigUint64(20, true)),
    host: HostId.fromBytes(link.subarray(28, 48)),
  }
  return { epoch, lsn: view.getBigUint64(48, true) }
}

/** Public id after each record of the run: `H` of the next record's parent, and `lastPublic`. */
export function publicIds(run: RecordsRun): VersionId[] {
  return [...run.records.slice(1).map((record) => publicOf(record.parent)), run.lastPublic]
}

/** The state that a record follows. Who forces a view may know no token: its record's parent is the state's id itself. */
function versionBefore(record: LogRecord): VersionId {
  const isForced = record.kind === 'view' && (record.flags & FLAG_FORCE) !== 0
  return isForced ? VersionId.fromBytes(Token.toBytes(record.parent)) : publicOf(record.parent)
}

/** Whether the run begins a volume. */
export function startsVolume(run: RecordsRun): boolean {
  return run.records[0]?.kind === 'create'
}

/**
 * Checks what can be checked without the stamp: what the first record follows is `previous`. A run that begins a
 * volume follows nothing: the public id of its first record is the volume's id.
 *
 * @throws {ChainBrokenError} it does not; the run is not of this history
 */
export function verifyLinks(run: RecordsRun, previous: VersionId): void {
  const first = run.records[0]
  const isLinked =
    first !== undefined &&
    (startsVolume(run) ? publicIds(run)[0] === (run.volume as string) : versionBefore(first) === previous)
  if (!isLinked) {
    throw new ChainBrokenError(
      `record ${String(run.firstLsn)} of volume ${run.volume} does not follow from the one before it`,
      {
        volume: run.volume,
        lsn: run.firstLsn,
      },
    )
  }
}

/**
 * Recomputes every token of the run with the stamp of its view. Together with `verifyLinks` and the digests of the
 * blocks nothing is left to trust.
 *
 * @throws {ChainBrokenError} a record's parent is not the token of the one before, or `lastPublic` not the last one's
 */
export function verifyTokens(run: RecordsRun, stamp: Stamp): void {
  const publics = publicIds(run)
  run.records.forEach((record, index) => {
    const lsn = (run.firstLsn + index) as Lsn
    if (publicOf(tokenOf(stamp, run, lsn, record)) !== publics[index]) {
      throw new ChainBrokenError(
        `record ${String(lsn)} of volume ${run.volume} does not make the version it is said to make`,
        {
          volume: run.volume,
          lsn,
        },
      )
    }
  })
}
