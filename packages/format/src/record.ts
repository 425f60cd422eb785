/** Record descriptors: updates of a volume, as they stand in a run of type 1 (docs/disk-format.md, Record descriptor). */
import assert from 'node:assert'
import { type Lsn, RecordCorruptError, Token, VOLUME_BLOCKS_MAX } from '@cloudfs/interface'
import { ByteReader } from './byte-reader.js'
import { alignUp, ByteWriter } from './byte-writer.js'
import { DIGEST_BYTES } from './hash.js'
import { checkPayload, type ControlKind, decodeCreate } from './payload.js'

export const RECORD_HEADER_BYTES = 36
export const EXTENT_BYTES = 12
export const BLOCK_SUM_BYTES = 20

/** A view that a majority of recovering members agreed to: writes that were not flushed may be gone. */
export const FLAG_RESTART = 1
/** A view that an operator formed against the rules. */
export const FLAG_FORCE = 2

/** By their numbers on disk. */
export const RECORD_KINDS = [
  '',
  'write',
  'create',
  'view',
  'snapshot',
  'resize',
  'mode',
  'delete',
  'snapshot-delete',
  'attach',
] as const

export type ExtentKind = 'data' | 'zeroed' | 'trimmed'
/** By their numbers on disk. */
export const EXTENT_KINDS = ['', 'data', 'zeroed', 'trimmed'] as const

/** Blocks from `block` to `block + count - 1`. */
export interface Extent {
  readonly kind: ExtentKind
  readonly block: number
  readonly count: number
}

/** What a record says of each block it stores. */
export interface BlockSum {
  readonly crc: number
  /** The first 16 bytes of SHA-256 of the block. */
  readonly digest: Uint8Array
}

/** Extents written atomically. */
export interface WriteRecord {
  readonly kind: 'write'
  readonly requestSequence: bigint
  readonly parent: Token
  readonly extents: readonly Extent[]
  /** One for each block of the data extents, in order. */
  readonly sums: readonly BlockSum[]
}

/** A change of the volume itself. */
export interface ControlRecord {
  readonly kind: ControlKind
  /** `FLAG_RESTART` and `FLAG_FORCE`, in views. */
  readonly flags: number
  readonly requestSequence: bigint
  readonly parent: Token
  /** With its padding: a multiple of 4 bytes. Its decoders are in payload.ts. */
  readonly payload: Uint8Array
}

export type LogRecord = WriteRecord | ControlRecord

/** Blocks whose bytes stand in the run's body. */
export function dataBlocks(record: LogRecord): number {
  return record.kind === 'write' ? record.sums.length : 0
}

/** Extents, or payload with its padding, as stored: what the token covers. */
export function encodeContent(record: LogRecord): Uint8Array {
  if (record.kind !== 'write') {
    assert(record.payload.length % 4 === 0, 'a stored payload is padded')
    return record.payload
  }
  const writer = new ByteWriter()
  for (const { kind, block, count } of record.extents) {
    assert(block + count <= VOLUME_BLOCKS_MAX, 'an extent ends within the largest volume')
    writer.u64(BigInt(block) | (BigInt(EXTENT_KINDS.indexOf(kind)) << 56n)).u32(count)
  }
  return writer.finish()
}

/** A payload with the padding it is stored with. */
export function padPayload(payload: Uint8Array): Uint8Array {
  const padded = new Uint8Array(alignUp(payload.length, 4))
  padded.set(payload)
  return padded
}

export function writeRecord(writer: ByteWriter, record: LogRecord): void {
  const content = encodeContent(record)
  const extentCount = record.kind === 'write' ? record.extents.length : 0
  const flags = record.kind === 'write' ? 0 : record.flags
  writer.oneOf(RECORD_KINDS, record.kind).u8(flags).u16(extentCount)
  writer.u32(RECORD_HEADER_BYTES + content.length + BLOCK_SUM_BYTES * dataBlocks(record))
  writer.u64(record.requestSequence).id(Token, record.parent).bytes(content)
  if (record.kind !== 'write') return
  const covered = record.extents.reduce((sum, extent) => sum + (extent.kind === 'data' ? extent.count : 0), 0)
  assert.equal(record.sums.length, covered, 'one sum for each data block')
  for (const { crc, digest } of record.sums) writer.u32(crc).bytes(digest)
}

/**
 * Reads the next record of a run.
 *
 * @param lsn - the record's own; a create must agree with it
 * @param isFirst - whether it stands first in its run
 */
export function readRecord(reader: ByteReader, lsn: Lsn, isFirst: boolean): LogRecord {
  const kind = reader.oneOf('kind', RECORD_KINDS)
  const flags = reader.u8('flags', kind === 'view' ? FLAG_RESTART | FLAG_FORCE : 0)
  const extentCount = reader.u16('extentCount')
  const recordBytes = reader.u32('recordBytes')
  const requestSequence = reader.u64('requestSequence')
  const parent = reader.id('parent', Token)
  if ((kind === 'create') !== (parent === Token.zero)) reader.refuse('parent', 'does not fit the kind')
  if ((kind === 'write') !== extentCount > 0) reader.refuse('extentCount', `is ${String(extentCount)}`)
  if (recordBytes < RECORD_HEADER_BYTES || recordBytes % 4 !== 0)
    reader.refuse('recordBytes', `is ${String(recordBytes)}`)
  reader.expect('recordBytes', recordBytes - RECORD_HEADER_BYTES, 1)
  const content = reader.view('contents', recordBytes - RECORD_HEADER_BYTES)
  if (kind === 'write') return { kind, requestSequence, parent, ...readWrite(content, extentCount) }

  if ((kind === 'create' || kind === 'view') && !isFirst) reader.refuse('kind', `is a ${kind} inside a run`)
  checkPayload(kind, content, RecordCorruptError)
  if (kind === 'create' && (decodeCreate(content).parent?.lsn ?? 0) + 1 !== lsn) {
    reader.refuse('lsn', 'of a create is not its parent’s and one')
  }
  return { kind, flags, requestSequence, parent, payload: content.slice() }
}

function readWrite(content: Uint8Array, extentCount: number): Pick<WriteRecord, 'extents' | 'sums'> {
  const reader = new ByteReader(content, 'write', RecordCorruptError)
  reader.expect('extentCount', extentCount, EXTENT_BYTES)
  const extents: Extent[] = []
  let end = 0
  let sumCount = 0
  for (let index = 0; index < extentCount; index++) {
    const extent = readExtent(reader)
    if (extent.block < end) reader.refuse('extent', 'begins before the end of the one before it')
    end = extent.block + extent.count
    if (extent.kind === 'data') sumCount += extent.count
    extents.push(extent)
  }
  if (reader.remaining !== BLOCK_SUM_BYTES * sumCount)
    reader.refuse('recordBytes', 'is not what extents and blocks need')
  const sums = Array.from({ length: sumCount }, () => ({
    crc: reader.u32('crc'),
    digest: reader.bytes('digest', DIGEST_BYTES),
  }))
  return { extents, sums }
}

function readExtent(reader: ByteReader): Extent {
  const packed = reader.u64('extent')
  const count = reader.u32('count')
  const kindNumber = Number(packed >> 56n)
  const kind = kindNumber === 0 ? undefined : EXTENT_KINDS[kindNumber]
  if (kind === undefined || kind === '') reader.refuse('extent', `has the unknown kind ${String(kindNumber)}`)
  const block = Number(packed & 0xff_ffff_ffff_ffffn)
  if (count === 0 || block + count > VOLUME_BLOCKS_MAX) {
    reader.refuse('extent', `covers ${String(count)} blocks from ${String(block)}`)
  }
  return { kind, block, count }
}
