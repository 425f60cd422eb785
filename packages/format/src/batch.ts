/** Batch: the unit of append (docs/disk-format.md, Batch). */
import assert from 'node:assert'
import { BatchCorruptError } from '@cloudfs/interface'
import { ByteReader } from './byte-reader.js'
import { alignUp, ByteWriter } from './byte-writer.js'
import { crc32cWithout } from './crc32c.js'
import { bodyBytesOf, decodeRun, encodeRun, readRunBytes, type Run, RUN_HEADER_BYTES } from './run.js'
import { SEGMENT_HEADER_BYTES } from './segment-header.js'

export const BATCH_HEADER_BYTES = 64
export const DIRECTORY_ENTRY_BYTES = 8
/** No batch is longer than the largest segment. */
export const BATCH_BYTES_MAX = 64 * 2 ** 20
export const ALIGN_LOG2_MIN = 10
export const ALIGN_LOG2_MAX = 12

const MAGIC = 'CFB1'
const CRC_OFFSET = 60

export type BatchKind = 'user' | 'moved'
/** By their numbers on disk. */
export const BATCH_KINDS = ['', 'user', 'moved'] as const

/** What a writer decides; lengths and offsets follow. */
export interface Batch {
  readonly segment: number
  /** In the segment, in bytes. */
  readonly offset: number
  readonly sequence: bigint
  /** Newest batch known to be on stable storage when this was written. */
  readonly syncedSequence: bigint
  readonly alignLog2: number
  readonly kind: BatchKind
  /** The segment's: `batchSeal`. */
  readonly seal: bigint
  readonly runs: readonly Run[]
  /** Those of the runs, by index, whose blocks are not there: a witness keeps records without them. */
  readonly bodiless?: readonly number[]
}

/** Where things lie in a batch, from its start. */
export interface BatchLayout {
  readonly headerBytes: number
  readonly batchBytes: number
  /** For each run; a `bodyOffset` of 0 = no body, or none that is here. */
  readonly placed: readonly { readonly runOffset: number; readonly bodyOffset: number }[]
}

/** The header area: header, directory, runs and padding. The bodies of the runs follow it, in order. */
export function encodeBatch(batch: Batch): { header: Uint8Array; layout: BatchLayout } {
  assert(batch.runs.length > 0, 'a batch is not empty')
  const alignment = 2 ** batch.alignLog2
  const runs = batch.runs.map(encodeRun)
  const directoryEnd = BATCH_HEADER_BYTES + DIRECTORY_ENTRY_BYTES * runs.length
  const headerBytes = runs.reduce((sum, run) => sum + run.length, directoryEnd)
  let runOffset = directoryEnd
  let bodyOffset = alignUp(headerBytes, alignment)
  const placed = batch.runs.map((run, index) => {
    const bodyBytes = batch.bodiless?.includes(index) === true ? 0 : bodyBytesOf(run)
    const place = { runOffset, bodyOffset: bodyBytes === 0 ? 0 : bodyOffset }
    runOffset += runs[index]?.length ?? 0
    bodyOffset += bodyBytes
    return place
  })
  const writer = new ByteWriter()
  writer.text(MAGIC).u32(headerBytes).u32(batch.segment).u32(batch.offset)
  writer.u64(batch.sequence).u64(batch.syncedSequence).u32(bodyOffset).u16(runs.length).u8(batch.alignLog2)
  writer.oneOf(BATCH_KINDS, batch.kind).u64(batch.seal).zeros(12).u32(0)
  for (const place of placed) writer.u32(place.runOffset).u32(place.bodyOffset)
  for (const run of runs) writer.bytes(run)
  writer.patchU32(CRC_OFFSET, crc32cWithout(writer.finish(), CRC_OFFSET)).padTo(alignment)
  return { header: writer.finish(), layout: { headerBytes, batchBytes: bodyOffset, placed } }
}

/** What a batch's first bytes say of its length. Not verified, but within bounds. */
export interface BatchLengths {
  readonly headerBytes: number
  readonly batchBytes: number
}

/**
 * How much to read before `decodeBatch` can be asked.
 *
 * @throws {BatchCorruptError} no batch starts here
 */
export function peekBatch(bytes: Uint8Array): BatchLengths {
  const reader = new ByteReader(bytes, 'batch', BatchCorruptError)
  reader.expect('header', BATCH_HEADER_BYTES, 1)
  if (!Buffer.from(MAGIC).equals(reader.view('magic', 4))) reader.refuse('magic', 'is another')
  const headerBytes = reader.u32('headerBytes')
  reader.view('segment', 24)
  const batchBytes = reader.u32('batchBytes')
  if (headerBytes < BATCH_HEADER_BYTES || headerBytes > batchBytes)
    reader.refuse('headerBytes', `is ${String(headerBytes)}`)
  return { headerBytes, batchBytes }
}

/**
 * Decodes the batch whose header area `bytes` starts with; padding and bodies may follow.
 *
 * That segment, offset, kind and seal are those of the place it was found in is for the caller to see.
 *
 * @throws {BatchCorruptError} header, directory or layout
 * @throws {RecordCorruptError | RecordVersionError} the run that is refused
 */
export function decodeBatch(bytes: Uint8Array): Batch & BatchLayout {
  const { headerBytes } = peekBatch(bytes)
  const reader = new ByteReader(bytes.subarray(0, headerBytes), 'batch', BatchCorruptError)
  if (headerBytes > bytes.length) reader.refuse('headerBytes', `is ${String(headerBytes)}`)
  const storedCrc = new DataView(bytes.buffer, bytes.byteOffset).getUint32(CRC_OFFSET, true)
  if (crc32cWithout(bytes.subarray(0, headerBytes), CRC_OFFSET) !== storedCrc)
    reader.refuse('crc', 'does not hold')

  reader.view('magic', 8)
  const segment = reader.u32('segment')
  const offset = reader.u32('offset')
  const sequence = reader.u64('sequence')
  const syncedSequence = reader.u64('syncedSequence')
  const batchBytes = reader.u32('batchBytes')
  const runCount = reader.u16('runCount')
  const alignLog2 = reader.u8('alignLog2', ALIGN_LOG2_MAX)
  const kind = reader.oneOf('kind', BATCH_KINDS)
  const seal = reader.u64('seal')
  reader.zeros('reserved', 12)
  reader.u32('crc')
  if (segment === 0 || sequence === 0n || seal === 0n || runCount === 0) reader.refuse('header', 'has a 0')
  if (alignLog2 < ALIGN_LOG2_MIN) reader.refuse('alignLog2', `is ${String(alignLog2)}`)
  if (syncedSequence >= sequence) reader.refuse('syncedSequence', `is ${String(syncedSequence)}`)
  if (offset < SEGMENT_HEADER_BYTES || offset % 1024 !== 0) reader.refuse('offset', `is ${String(offset)}`)
  const alignment = 2 ** alignLog2
  if (batchBytes % alignment !== 0 || batchBytes > BATCH_BYTES_MAX)
    reader.refuse('batchBytes', `is ${String(batchBytes)}`)
  reader.expect('runCount', runCount, DIRECTORY_ENTRY_BYTES + RUN_HEADER_BYTES)

  const placed = Array.from({ length: runCount }, () => ({
    runOffset: reader.u32('runOffset'),
    bodyOffset: reader.u32('bodyOffset'),
  }))
  let bodiesEnd = alignUp(headerBytes, alignment)
  const bodiless: number[] = []
  const runs = placed.map(({ runOffset, bodyOffset }, index) => {
    if (runOffset !== reader.offset) reader.refuse('runOffset', `is ${String(runOffset)}`)
    const rest = bytes.subarray(runOffset, headerBytes)
    const run = decodeRun(rest)
    reader.view('run', readRunBytes(new ByteReader(rest, 'run', BatchCorruptError), rest.length))
    if ((kind === 'moved') !== (run.type === 'moved'))
      reader.refuse('run', `of type ${run.type} is in a batch of kind ${kind}`)
    const isBodiless = bodyOffset === 0 && run.type === 'records' && bodyBytesOf(run) > 0
    if (isBodiless) bodiless.push(index)
    const bodyBytes = isBodiless ? 0 : bodyBytesOf(run)
    if (bodyOffset !== (bodyBytes === 0 ? 0 : bodiesEnd))
      reader.refuse('bodyOffset', `is ${String(bodyOffset)}`)
    bodiesEnd += bodyBytes
    return run
  })
  reader.end()
  if (bodiesEnd !== batchBytes) reader.refuse('batchBytes', `is ${String(batchBytes)}`)
  return {
    segment,
    offset,
    sequence,
    syncedSequence,
    alignLog2,
    kind,
    seal,
    runs,
    ...(bodiless.length > 0 && { bodiless }),
    headerBytes,
    batchBytes,
    placed,
  }
}
