/** Batches of a segment, and which of all of them are the log to replay (docs/core.md, Recovery). */
import {
  BatchCorruptError,
  BLOCK_BYTES,
  type CloudfsError,
  isCloudfsError,
  SLOT_BYTES,
  StoreCorruptError,
} from '@cloudfs/interface'
import { type Batch, type BatchLayout, decodeBatch } from '../batch.js'
import { crc32c } from '../crc32c.js'
import { type Run, sumsOf } from '../run.js'
import { batchSeal, SEGMENT_HEADER_BYTES } from '../segment-header.js'
import type { SegmentTable, StoreSegment } from './segment-table.js'

/** A batch and where it was found. */
export interface FoundBatch {
  readonly segment: StoreSegment
  readonly batch: Batch & BatchLayout
}

/** How far a segment's batches go, and why no further. */
export interface ScannedSegment {
  readonly batches: readonly FoundBatch[]
  /** Behind the last batch, in bytes. */
  readonly end: number
  /** What stands at `end`. Behind the end of a log, anything may. */
  readonly fault?: CloudfsError
  /** Intact batches of this life behind it: they may tell that what stood at `end` was on stable storage. */
  readonly strays: readonly FoundBatch[]
}

/**
 * The batches of a segment, one right behind the other, until one is not a batch of this life.
 *
 * @param bytes - the segment from its start on
 * @param end - where to stop looking
 */
export function scanSegment(segment: StoreSegment, bytes: Uint8Array, end = bytes.length): ScannedSegment {
  const batches: FoundBatch[] = []
  let offset = SEGMENT_HEADER_BYTES
  while (offset < end) {
    const batch = tryBatch(segment, bytes.subarray(offset, end), offset, batches.at(-1)?.batch.sequence)
    if (batch instanceof Error)
      return { batches, end: offset, fault: batch, strays: findStrays(segment, bytes, offset, end) }
    batches.push({ segment, batch })
    offset += batch.batchBytes
  }
  return { batches, end: offset, strays: [] }
}

function findStrays(segment: StoreSegment, bytes: Uint8Array, from: number, end: number): FoundBatch[] {
  const strays: FoundBatch[] = []
  for (let offset = from + SLOT_BYTES; offset < end; offset += SLOT_BYTES) {
    const batch = tryBatch(segment, bytes.subarray(offset, end), offset, undefined)
    if (!(batch instanceof Error)) strays.push({ segment, batch })
  }
  return strays
}

/** The batch that stands there, or why none of this place and life does. */
function tryBatch(
  segment: StoreSegment,
  bytes: Uint8Array,
  offset: number,
  before: bigint | undefined,
): (Batch & BatchLayout) | CloudfsError {
  try {
    const batch = decodeBatch(bytes)
    const fault = strangerFault(segment, batch, offset, before)
    return fault === undefined ? batch : new BatchCorruptError(`batch: ${fault}`, { offset })
  } catch (error) {
    if (isCloudfsError(error)) return error
    throw error
  }
}

/** Why an intact batch is not of this place and life. */
function strangerFault(
  segment: StoreSegment,
  batch: Batch,
  offset: number,
  before: bigint | undefined,
): string | undefined {
  if (batch.segment !== segment.logical) return `it is of segment ${String(batch.segment)}`
  if (batch.offset !== offset) return `it belongs at byte ${String(batch.offset)}`
  if (batch.kind !== segment.kind) return `it is of the ${batch.kind} stream`
  if (segment.header !== undefined && batch.seal !== batchSeal(segment.header))
    return `its seal is not that of segment ${String(batch.segment)}`
  if (before !== undefined && batch.sequence <= before)
    return `its sequence ${String(batch.sequence)} does not go up`
  return undefined
}

export interface RolledForward {
  /** In order of sequence, without a gap. */
  readonly batches: readonly FoundBatch[]
  /** Behind the last batch replayed. */
  readonly nextSequence: bigint
  /** Newest batch known to have been on stable storage. */
  readonly syncedSequence: bigint
  /** A batch that was synced and is missing or incomplete: not a torn tail. */
  readonly fault?: CloudfsError
}

/** The batches from `replaySequence` on, up to the first that is missing or incomplete. */
export async function rollForward(
  table: SegmentTable,
  scanned: readonly ScannedSegment[],
  replaySequence: bigint,
): Promise<RolledForward> {
  const starts = firstSequenceByStart(scanned)
  const isVoid = ({ batch, segment: { header } }: FoundBatch): boolean =>
    header !== undefined &&
    starts.some((later) => later.start > header.start && later.firstSequence <= batch.sequence)
  const valid = new Map<bigint, FoundBatch>()
  let syncedSequence = 0n
  for (const { batches, strays } of scanned) {
    for (const found of batches) if (!isVoid(found)) valid.set(found.batch.sequence, found)
    for (const found of [...batches, ...strays]) {
      if (!isVoid(found) && found.batch.syncedSequence > syncedSequence)
        syncedSequence = found.batch.syncedSequence
    }
  }

  const batches: FoundBatch[] = []
  let next = replaySequence
  for (;;) {
    const found = valid.get(next)
    const isMissing = found === undefined || (next > syncedSequence && !(await isComplete(table, found)))
    if (isMissing) break
    batches.push(found)
    next++
  }
  if (next > syncedSequence || syncedSequence < replaySequence)
    return { batches, nextSequence: next, syncedSequence }
  const fault = new StoreCorruptError(
    `batch ${String(next)} is missing, though batches up to ${String(syncedSequence)} were on stable storage`,
    { sequence: String(next), syncedSequence: String(syncedSequence) },
  )
  return { batches, nextSequence: next, syncedSequence, fault }
}

/** What each start wrote first: it voids whatever earlier starts hold from there on. */
function firstSequenceByStart(
  scanned: readonly ScannedSegment[],
): { start: bigint; firstSequence: bigint }[] {
  const firsts = new Map<bigint, bigint>()
  for (const { batches } of scanned) {
    const header = batches[0]?.segment.header
    if (header === undefined) continue
    const known = firsts.get(header.start)
    if (known === undefined || header.firstSequence < known) firsts.set(header.start, header.firstSequence)
  }
  return [...firsts].map(([start, firstSequence]) => ({ start, firstSequence }))
}

/** Whether each block of the batch's bodies has the crc its descriptor names. */
async function isComplete(table: SegmentTable, found: FoundBatch): Promise<boolean> {
  for (const { run, bodyOffset, isBodiless } of placedRuns(found.batch)) {
    if (isBodiless) continue
    const sums = sumsOf(run)
    const body = await table.read(found.segment, found.batch.offset + bodyOffset, sums.length * BLOCK_BYTES)
    const isWhole = sums.every(
      ({ crc }, index) => crc32c(body.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES)) === crc,
    )
    if (body.length < sums.length * BLOCK_BYTES || !isWhole) return false
  }
  return true
}

/** Each run with the offset of its body in the batch. */
export function placedRuns(
  batch: Batch & BatchLayout,
): { run: Run; bodyOffset: number; isBodiless: boolean }[] {
  return batch.runs.map((run, index) => ({
    run,
    bodyOffset: batch.placed[index]?.bodyOffset ?? 0,
    isBodiless: batch.bodiless?.includes(index) === true,
  }))
}

/** Slot of block `index` of a run's body. */
export function slotOf(batch: Batch, bodyOffset: number, index: number): number {
  return (batch.offset + bodyOffset + index * BLOCK_BYTES) / SLOT_BYTES
}
