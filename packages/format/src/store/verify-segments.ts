/** Every batch of every segment, the chain through them, and the bytes of every block that somebody names. */
import {
  BLOCK_BYTES,
  type CloudfsError,
  compareEpochs,
  type Epoch,
  isCloudfsError,
  type Lsn,
  SLOT_BYTES,
  type Stamp,
  VersionId,
  type VolumeId,
} from '@cloudfs/interface'
import { startsVolume, verifyLinks, verifyTokens } from '../chain.js'
import { crc32c } from '../crc32c.js'
import { blockDigest } from '../hash.js'
import type { BlockSum } from '../record.js'
import { lastLsn, type RecordsRun, type Run } from '../run.js'
import type { Findings } from './findings.js'
import { type FoundBatch, placedRuns, scanSegment, slotOf } from './log-scan.js'
import { endOfLog, type OfflineStore } from './open-store.js'
import type { Reference, References } from './references.js'
import type { StoreSegment } from './segment-table.js'
import { knownStamps, stampKey } from './stamps.js'

/** What a batch says of a block that lies in it. */
interface Described extends BlockSum {
  readonly block: number
  readonly birth: Lsn
}

/** Heads of runs remembered for each volume, in case a later view went back behind the newest. */
const RUN_ENDS_MAX = 1024

/** What a run ends at. */
interface RunEnd {
  readonly version: VersionId
  readonly epoch: Epoch
}

export class SegmentCheck {
  readonly #store: OfflineStore
  readonly #references: References
  readonly #findings: Findings
  readonly #stamps: ReadonlyMap<string, Stamp>
  readonly #runEnds = new Map<VolumeId, Map<Lsn, RunEnd>>()
  batchCount = 0
  recordCount = 0
  blockCount = 0

  constructor(store: OfflineStore, references: References, findings: Findings) {
    this.#store = store
    this.#references = references
    this.#findings = findings
    this.#stamps = knownStamps(store)
  }

  /** Segments in the order in which they were written. */
  segments(): StoreSegment[] {
    const firstSequence = ({ header, frozen }: StoreSegment): bigint =>
      header?.firstSequence ?? frozen?.firstSequence ?? 0n
    return [...this.#store.table.segments.values()].toSorted((a, b) =>
      firstSequence(a) < firstSequence(b)
        ? -1
        : firstSequence(a) > firstSequence(b)
          ? 1
          : a.logical - b.logical,
    )
  }

  async check(segment: StoreSegment): Promise<void> {
    if (segment.header === undefined) {
      // The checkpoint was frozen when it was open and empty: its header came with a first batch that never did.
      if (segment.frozen?.state === 'open' && segment.frozen.lastSequence === 0n) return
      this.#report(segment, 0, 'ERR_SEGMENT_CORRUPT', 'its header is damaged, or of another life')
    }
    if (segment.kind === 'index') return
    const bytes = await this.#store.table.read(segment, 0, this.#store.table.segmentBytes)
    const end = endOfLog(this.#store, segment)
    const scanned = scanSegment(segment, bytes, Math.min(end, bytes.length))
    if (scanned.end < end) {
      const fault = scanned.fault
      this.#report(
        segment,
        scanned.end,
        fault?.code ?? 'ERR_BATCH_CORRUPT',
        fault?.message ?? 'the segment is cut off',
      )
    }
    this.#checkSequences(segment, scanned.batches)

    const described = new Map<number, Described>()
    for (const found of scanned.batches) this.#checkBatch(found, described)
    for (const reference of this.#references.of(segment.logical).all()) {
      this.#checkBlock(segment, bytes, reference, described.get(reference.slot))
    }
  }

  #checkSequences(segment: StoreSegment, batches: readonly FoundBatch[]): void {
    const first = batches[0]?.batch.sequence
    if (first === undefined) return
    const { header, frozen } = segment
    if (header !== undefined && header.firstSequence !== first) {
      this.#report(
        segment,
        0,
        'ERR_SEGMENT_CORRUPT',
        `its first batch is ${String(first)}, not the one it names`,
      )
    }
    if (frozen?.state === 'sealed' && batches.at(-1)?.batch.sequence !== frozen.lastSequence) {
      this.#report(segment, 0, 'ERR_SEGMENT_CORRUPT', `its last batch is not ${String(frozen.lastSequence)}`)
    }
  }

  #checkBatch({ segment, batch }: FoundBatch, described: Map<number, Described>): void {
    this.batchCount++
    for (const { run, bodyOffset, isBodiless } of placedRuns(batch)) {
      if (run.type === 'records') {
        this.recordCount += run.records.length
        this.#checkChain(segment, batch.offset, run)
      }
      if (isBodiless) continue
      describeBlocks(run).forEach((block, index) => described.set(slotOf(batch, bodyOffset, index), block))
    }
  }

  /** Links to the run before, where that is still here, and tokens, where the stamp is known. */
  #checkChain(segment: StoreSegment, offset: number, run: RecordsRun): void {
    const ends = this.#runEnds.get(run.volume) ?? new Map<Lsn, RunEnd>()
    this.#runEnds.set(run.volume, ends)
    const previousLsn = (run.firstLsn - 1) as Lsn
    const previous = ends.get(previousLsn)
    const stamp = this.#stamps.get(stampKey(run.volume, run))
    try {
      if (startsVolume(run)) verifyLinks(run, VersionId.zero)
      else if (previous !== undefined && !this.#isOfAnother(run, previousLsn, previous))
        verifyLinks(run, previous.version)
      if (stamp !== undefined) verifyTokens(run, stamp)
    } catch (error) {
      if (!isCloudfsError(error)) throw error
      this.#reportError(segment, offset, error)
    }
    ends.delete(lastLsn(run))
    ends.set(lastLsn(run), { version: run.lastPublic, epoch: run.epoch })
    if (ends.size > RUN_ENDS_MAX) ends.delete(ends.keys().next().value as Lsn)
  }

  /**
   * The run before was dropped, and this one follows what took its place: that may have come as blocks, without a record. An
   * epoch and an lsn name one record, so a run of the same epoch follows it.
   */
  #isOfAnother(run: RecordsRun, lsn: Lsn, previous: RunEnd): boolean {
    if (compareEpochs(run.epoch, previous.epoch) === 0) return false
    const history = this.#store.volumes.get(run.volume)?.epochs
    const held = history?.findLast(({ firstLsn }) => firstLsn <= lsn)?.epoch
    return held !== undefined && compareEpochs(held, previous.epoch) !== 0
  }

  #checkBlock(
    segment: StoreSegment,
    bytes: Uint8Array,
    reference: Reference,
    described: Described | undefined,
  ): void {
    this.blockCount++
    const offset = reference.slot * SLOT_BYTES
    const block = bytes.subarray(offset, offset + BLOCK_BYTES)
    if (described === undefined) {
      this.#report(
        segment,
        offset,
        'ERR_REFERENCE_CORRUPT',
        'a block is named where no batch has one',
        reference,
      )
    } else if (described.crc !== reference.crc || described.birth !== reference.birth) {
      this.#report(
        segment,
        offset,
        'ERR_REFERENCE_CORRUPT',
        'a block is not the one that is named',
        reference,
      )
    } else if (reference.block !== undefined && described.block !== reference.block) {
      this.#report(
        segment,
        offset,
        'ERR_REFERENCE_CORRUPT',
        `a block is number ${String(described.block)}`,
        reference,
      )
    }
    if (block.length < BLOCK_BYTES || crc32c(block) !== reference.crc) {
      this.#report(segment, offset, 'ERR_BLOCK_CORRUPT', 'a block differs from its checksum', reference)
    } else if (described !== undefined && !Buffer.from(described.digest).equals(blockDigest(block))) {
      this.#report(segment, offset, 'ERR_BLOCK_CORRUPT', 'a block differs from its digest', reference)
    }
  }

  #report(segment: StoreSegment, offset: number, code: string, why: string, reference?: Reference): void {
    const { logical, physical } = segment
    const about = reference && {
      birth: reference.birth,
      ...(reference.block !== undefined && { block: reference.block }),
    }
    this.#findings.add(
      code,
      `segment ${String(logical)} (place ${String(physical)}) at byte ${String(offset)}: ${why}`,
      {
        logical,
        physical,
        offset,
        ...about,
      },
    )
  }

  #reportError(segment: StoreSegment, offset: number, error: CloudfsError): void {
    this.#findings.addError(error, { logical: segment.logical, physical: segment.physical, offset })
  }
}

/** The blocks of a run's body, in order. */
function describeBlocks(run: Run): Described[] {
  if (run.type === 'moved') return run.blocks.map((moved) => ({ ...moved }))
  if (run.type === 'local') return []
  return run.records.flatMap((record, index) => {
    if (record.kind !== 'write') return []
    const birth = (run.firstLsn + index) as Lsn
    const blocks = record.extents.flatMap(({ kind, block, count }) =>
      kind === 'data' ? Array.from({ length: count }, (_, i) => block + i) : [],
    )
    return record.sums.map((sum, i) => ({ ...sum, block: blocks[i] ?? 0, birth }))
  })
}
