/** Which blocks of the segments somebody names, and what is said of each. About 24 bytes a block. */
import { BLOCK_BYTES, type Lsn, SLOT_BYTES } from '@cloudfs/interface'
import type { Entry } from '../entry.js'
import type { Place } from './segment-table.js'

/** The checkpoint's trees and lists name it. */
export const REFERENCE_FROZEN = 1
/** The volumes as replay leaves them name it. */
export const REFERENCE_FINAL = 2

/** A block number that is not known: dead lists do not say. */
const BLOCK_UNKNOWN = -1

const SLOTS_PER_BLOCK = BLOCK_BYTES / SLOT_BYTES

/** What is said of one block. */
export interface Reference {
  readonly slot: number
  readonly birth: Lsn
  readonly crc: number
  /** Its number in its volume, if the one who names it knows. */
  readonly block: number | undefined
}

export class SegmentReferences {
  readonly #flags: Uint8Array
  readonly #slots: Uint16Array
  readonly #births: Float64Array
  readonly #crcs: Uint32Array
  readonly #blocks: Float64Array

  constructor(segmentBytes: number) {
    const count = segmentBytes / BLOCK_BYTES
    this.#flags = new Uint8Array(count)
    this.#slots = new Uint16Array(count)
    this.#births = new Float64Array(count)
    this.#crcs = new Uint32Array(count)
    this.#blocks = new Float64Array(count).fill(BLOCK_UNKNOWN)
  }

  /** @returns why this cannot be, beside what is known of the place already */
  add(
    slot: number,
    entry: Pick<Entry, 'birth' | 'crc'>,
    block: number | undefined,
    flag: number,
  ): string | undefined {
    const index = Math.floor(slot / SLOTS_PER_BLOCK)
    if (index >= this.#flags.length) return 'lies behind the end of the segment'
    const isNew = ((this.#flags[index] ?? 0) & (REFERENCE_FROZEN | REFERENCE_FINAL)) === 0
    this.#flags[index] = (this.#flags[index] ?? 0) | flag
    if (isNew) {
      this.#slots[index] = slot
      this.#births[index] = entry.birth
      this.#crcs[index] = entry.crc
      this.#blocks[index] = block ?? BLOCK_UNKNOWN
      return undefined
    }
    if (this.#slots[index] !== slot) return 'overlaps another that is named'
    if (this.#births[index] !== entry.birth) return 'is named with two births'
    if (this.#crcs[index] !== entry.crc) return 'is named with two checksums'
    if (block === undefined) return undefined
    if (this.#blocks[index] !== BLOCK_UNKNOWN && this.#blocks[index] !== block)
      return 'is named as two blocks'
    this.#blocks[index] = block
    return undefined
  }

  /** Flags of the block whose slot / 4 is `index`. */
  flagsAt(index: number): number {
    return this.#flags[index] ?? 0
  }

  get length(): number {
    return this.#flags.length
  }

  /** Everything that trees and lists name, in order of place. */
  *all(): Generator<Reference> {
    for (let index = 0; index < this.#flags.length; index++) {
      if ((this.flagsAt(index) & (REFERENCE_FROZEN | REFERENCE_FINAL)) === 0) continue
      const block = this.#blocks[index] ?? BLOCK_UNKNOWN
      yield {
        slot: this.#slots[index] ?? 0,
        birth: (this.#births[index] ?? 0) as Lsn,
        crc: this.#crcs[index] ?? 0,
        block: block === BLOCK_UNKNOWN ? undefined : block,
      }
    }
  }
}

export class References {
  readonly #segmentBytes: number
  readonly #segments = new Map<number, SegmentReferences>()

  constructor(segmentBytes: number) {
    this.#segmentBytes = segmentBytes
  }

  of(segment: number): SegmentReferences {
    let references = this.#segments.get(segment)
    if (references === undefined) {
      references = new SegmentReferences(this.#segmentBytes)
      this.#segments.set(segment, references)
    }
    return references
  }

  /** Ids of segments in which something is named. */
  segments(): Iterable<number> {
    return this.#segments.keys()
  }

  add(
    place: Place,
    entry: Pick<Entry, 'birth' | 'crc'>,
    block: number | undefined,
    flag: number,
  ): string | undefined {
    return this.of(place.segment).add(place.slot, entry, block, flag)
  }
}
