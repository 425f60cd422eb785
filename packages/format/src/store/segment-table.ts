/** Logical segments and where they lie; blocks and pages by their entries. */
import { BLOCK_BYTES, BlockCorruptError, PAGE_BYTES, SLOT_BYTES, StoreCorruptError } from '@cloudfs/interface'
import type { Checkpoint, CheckpointSegment } from '../checkpoint.js'
import { crc32c } from '../crc32c.js'
import type { Entry } from '../entry.js'
import { decodePage } from '../page.js'
import type { SegmentHeader, SegmentKind } from '../segment-header.js'
import type { StoreMedium } from './medium.js'

/** A place for 4096 bytes. */
export interface Place {
  readonly segment: number
  readonly slot: number
}

/** A segment that holds something. */
export interface StoreSegment {
  readonly logical: number
  readonly physical: number
  readonly kind: SegmentKind
  /** As the checkpoint has it; none if it was opened since. */
  readonly frozen?: CheckpointSegment
  /** As it stands on disk; none if it is damaged or of another life. */
  readonly header?: SegmentHeader
}

/** Hops from forward to forward before it is called a loop. Checkpoints shorten chains. */
const FORWARD_HOPS_MAX = 64

/** Pages kept decoded; past this the oldest are forgotten. */
const PAGES_CACHED_MAX = 4096

export class SegmentTable {
  readonly segmentBytes: number
  readonly segments = new Map<number, StoreSegment>()
  readonly #medium: StoreMedium
  readonly #forwards = new Map<string, Place>()
  readonly #pages = new Map<string, Entry[]>()

  constructor(medium: StoreMedium, segmentBytes: number) {
    this.#medium = medium
    this.segmentBytes = segmentBytes
  }

  add(segment: StoreSegment): void {
    this.segments.set(segment.logical, segment)
  }

  addForwards(checkpoint: Pick<Checkpoint, 'forwards'>): void {
    for (const { logical, entries } of checkpoint.forwards) {
      for (const { fromSlot, toSegment, toSlot } of entries) {
        this.forward({ segment: logical, slot: fromSlot }, { segment: toSegment, slot: toSlot })
      }
    }
  }

  /** Blocks of `from` are at `to` now. */
  forward(from: Place, to: Place): void {
    this.#forwards.set(keyOf(from), { segment: to.segment, slot: to.slot })
  }

  /** A table with the same segments, whose forwards go their own way. */
  fork(): SegmentTable {
    const copy = new SegmentTable(this.#medium, this.segmentBytes)
    for (const segment of this.segments.values()) copy.add(segment)
    for (const [key, place] of this.#forwards) copy.#forwards.set(key, place)
    return copy
  }

  /**
   * Where a block is now.
   *
   * @throws {StoreCorruptError} its forwards lead round in a circle
   */
  resolve(place: Place): Place {
    let now = place
    for (let hops = 0; hops <= FORWARD_HOPS_MAX; hops++) {
      const next = this.#forwards.get(keyOf(now))
      if (next === undefined) return now
      now = next
    }
    throw new StoreCorruptError(`the forwards of ${describePlace(place)} lead nowhere`, { ...place })
  }

  /** Bytes of a segment, from `offset` on; fewer if it ends before. */
  read(segment: StoreSegment, offset: number, bytes: number): Promise<Uint8Array> {
    return this.#medium.readSegment(segment.physical, offset, bytes, this.segmentBytes)
  }

  /**
   * `count` blocks that lie one behind another, unverified.
   *
   * @throws {BlockCorruptError} the place is in no segment
   */
  async readBlocks(place: Place, count: number): Promise<Uint8Array> {
    const segment = this.segments.get(place.segment)
    const bytes = segment && (await this.read(segment, place.slot * SLOT_BYTES, count * BLOCK_BYTES))
    if (bytes?.length === count * BLOCK_BYTES) return bytes
    throw new BlockCorruptError(`nothing can be read at ${describePlace(place)}`, { ...place })
  }

  /**
   * The page an entry of the map points to, checked by the entry's crc.
   *
   * @throws {StoreCorruptError} the page cannot be read, fails its checksum or holds an entry that is not valid
   */
  async readPage(entry: Entry): Promise<Entry[]> {
    const key = `${keyOf(entry)}.${String(entry.crc)}`
    const known = this.#pages.get(key)
    if (known !== undefined) return known
    const segment = this.segments.get(entry.segment)
    if (segment?.kind !== 'index') {
      throw new StoreCorruptError(
        `a page is said to be at ${describePlace(entry)}, which is no index segment`,
        {
          segment: entry.segment,
          slot: entry.slot,
        },
      )
    }
    const page = checkedPage(await this.read(segment, entry.slot * SLOT_BYTES, PAGE_BYTES), entry)
    const entries = decodePage(page)
    if (this.#pages.size >= PAGES_CACHED_MAX) this.#pages.delete(this.#pages.keys().next().value as string)
    this.#pages.set(key, entries)
    return entries
  }
}

/** @throws {StoreCorruptError} the bytes are not those the entry points to */
export function checkedPage(bytes: Uint8Array, entry: Entry): Uint8Array {
  if (bytes.length === PAGE_BYTES && crc32c(bytes) === entry.crc) return bytes
  throw new StoreCorruptError(`the page at ${describePlace(entry)} fails its checksum`, {
    segment: entry.segment,
    slot: entry.slot,
  })
}

/** For messages: `segment 7 at byte 12288`. */
export function describePlace(place: Place): string {
  return `segment ${String(place.segment)} at byte ${String(place.slot * SLOT_BYTES)}`
}

function keyOf(place: Place): string {
  return `${String(place.segment)}.${String(place.slot)}`
}
