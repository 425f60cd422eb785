/** Segment header: which life of which place this is (docs/disk-format.md, Segment header). */
import { PAGE_BYTES, SegmentCorruptError, StoreId, StoreVersionError } from '@cloudfs/interface'
import { ByteReader } from './byte-reader.js'
import { ByteWriter } from './byte-writer.js'
import { crc32c } from './crc32c.js'
import { hash160 } from './hash.js'
import { checkPage, FORMAT_VERSION } from './superblock.js'

/** Batches and pages start behind it. */
export const SEGMENT_HEADER_BYTES = 4096

const MAGIC = 'CFSEGMT1'

export type SegmentKind = 'user' | 'moved' | 'index'
/** By their numbers on disk. */
export const SEGMENT_KINDS = ['', 'user', 'moved', 'index'] as const

export interface SegmentHeader {
  readonly logical: number
  readonly store: StoreId
  readonly physical: number
  readonly generation: bigint
  /** Of the first batch; 0 in an index segment. */
  readonly firstSequence: bigint
  readonly kind: SegmentKind
  /** The superblock's `starts` when the segment was opened. */
  readonly start: bigint
}

/**
 * What a segment's batches carry to tell them from stale bytes of its place, and from blocks that a client of a volume
 * made look like batches: nobody can compute it who does not know the store's id.
 */
export function batchSeal(header: SegmentHeader): bigint {
  const writer = new ByteWriter()
  writer.id(StoreId, header.store).u64(header.generation).u64(header.start).u32(header.logical)
  const hash = hash160(writer.finish())
  return new DataView(hash.buffer, hash.byteOffset).getBigUint64(0, true) || 1n
}

export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const writer = new ByteWriter()
  writer.text(MAGIC).u32(FORMAT_VERSION).u32(header.logical).id(StoreId, header.store).u32(header.physical)
  writer
    .u64(header.generation)
    .u64(header.firstSequence)
    .oneOf(SEGMENT_KINDS, header.kind)
    .zeros(7)
    .u64(header.start)
  writer.zeros(PAGE_BYTES - 4 - writer.length)
  return writer.u32(crc32c(writer.finish())).finish()
}

/**
 * Decodes a segment's first page. Whether store, generation and place are the expected ones is for the caller to see.
 *
 * @throws {StoreVersionError} intact, but of a later version
 * @throws {SegmentCorruptError} anything else that is not a segment header
 */
export function decodeSegmentHeader(bytes: Uint8Array): SegmentHeader {
  const reader = new ByteReader(
    bytes.subarray(0, SEGMENT_HEADER_BYTES),
    'segment header',
    SegmentCorruptError,
  )
  checkPage(bytes, reader, MAGIC)
  const version = reader.u32('version')
  if (version > FORMAT_VERSION) {
    throw new StoreVersionError(
      `a segment is of format version ${String(version)}; this program reads ${String(FORMAT_VERSION)}`,
      {
        version,
      },
    )
  }
  if (version !== FORMAT_VERSION) reader.refuse('version', 'is 0')
  const logical = reader.u32('logical')
  if (logical === 0) reader.refuse('logical', 'is 0')
  const store = reader.id('storeId', StoreId)
  const physical = reader.u32('physical')
  const generation = reader.u64('generation')
  const firstSequence = reader.u64('firstSequence')
  const kind = reader.oneOf('kind', SEGMENT_KINDS)
  if ((kind === 'index') !== (firstSequence === 0n))
    reader.refuse('firstSequence', `is ${String(firstSequence)}`)
  reader.zeros('reserved', 7)
  const start = reader.u64('start')
  if (start === 0n) reader.refuse('start', 'is 0')
  reader.zeros('reserved', PAGE_BYTES - 4 - reader.offset)
  return { logical, store, physical, generation, firstSequence, kind, start }
}
