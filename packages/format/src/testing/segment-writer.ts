/** Segments of a made store: batches, pages and blobs go where there is room. Shares nothing with the engine. */
import assert from 'node:assert'
import { BLOCK_BYTES, type Lsn, PAGE_BYTES, PAGE_ENTRIES, SLOT_BYTES, type StoreId } from '@cloudfs/interface'
import {
  batchSeal,
  checkpointTreeHeight,
  type CheckpointForwards,
  crc32c,
  encodeBatch,
  encodePage,
  encodeSegmentHeader,
  type Entry,
  ENTRY_EMPTY,
  greatestBirth,
  type Run,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  type SegmentKind,
  type SegmentState,
} from '../index.js'
import type { MemoryMedium } from './memory-medium.js'

/** A segment as its writer knows it. */
export interface Segment {
  readonly physical: number
  readonly logical: number
  readonly kind: SegmentKind
  readonly firstSequence: bigint
  state: SegmentState
  used: number
  lastSequence: bigint
}

/** Where a block lies. */
export interface Placed {
  readonly segment: number
  readonly slot: number
}

/** Where the runs of a batch put their blocks; told when the batch is written. */
export type OnPlaced = (places: readonly Placed[]) => void

/** A run that waits for its batch. */
export interface Queued {
  readonly run: Run
  readonly bodies: readonly Uint8Array[]
  readonly onPlaced: OnPlaced
}

const ALIGN_LOG2 = 12

export class SegmentWriter {
  readonly segments: Segment[] = []
  /** Places of the blocks that somebody needs, by `keyOf`. */
  readonly live = new Set<string>()
  readonly forwards = new Map<string, Placed>()
  nextLogical = 1
  nextSequence = 1n
  synced = 0n
  starts = 1n
  /** Changes runs as they are written. */
  tamperRun: ((run: Run) => Run) | undefined

  readonly #medium: MemoryMedium
  readonly #store: StoreId
  readonly #segmentBytes: number

  constructor(medium: MemoryMedium, store: StoreId, segmentBytes: number) {
    this.#medium = medium
    this.#store = store
    this.#segmentBytes = segmentBytes
  }

  writeBatch(kind: 'user' | 'moved', queued: readonly Queued[]): void {
    const make = (segment: Segment): ReturnType<typeof encodeBatch> =>
      encodeBatch({
        segment: segment.logical,
        offset: segment.used,
        sequence: this.nextSequence,
        syncedSequence: this.synced,
        alignLog2: ALIGN_LOG2,
        kind,
        seal: batchSeal(this.#headerOf(segment)),
        runs: queued.map(({ run }) => this.tamperRun?.(run) ?? run),
      })
    let segment = this.segments.find((each) => each.kind === kind && each.state === 'open') ?? this.open(kind)
    if (segment.used + make(segment).layout.batchBytes > this.#segmentBytes) {
      segment.state = 'sealed'
      segment = this.open(kind)
    }
    const { header, layout } = make(segment)
    const bodies = queued.flatMap((each) => each.bodies)
    this.#write(segment, segment.used, Buffer.concat([header, ...bodies]))
    for (const [index, { bodies: own, onPlaced }] of queued.entries()) {
      const start = segment.used + (layout.placed[index]?.bodyOffset ?? 0)
      const places = own.map((_, i) => ({
        segment: segment.logical,
        slot: (start + i * BLOCK_BYTES) / SLOT_BYTES,
      }))
      for (const place of places) this.live.add(keyOf(place))
      onPlaced(places)
    }
    segment.used += layout.batchBytes
    segment.lastSequence = this.nextSequence++
  }

  open(kind: SegmentKind): Segment {
    const segment: Segment = {
      physical: this.segments.length,
      logical: this.nextLogical++,
      kind,
      firstSequence: kind === 'index' ? 0n : this.nextSequence,
      state: 'open',
      used: SEGMENT_HEADER_BYTES,
      lastSequence: 0n,
    }
    this.segments.push(segment)
    this.#write(segment, 0, encodeSegmentHeader(this.#headerOf(segment)))
    return segment
  }

  #headerOf({ logical, physical, firstSequence, kind }: Segment): SegmentHeader {
    return { logical, store: this.#store, physical, generation: 1n, firstSequence, kind, start: this.starts }
  }

  #write(segment: Segment, offset: number, bytes: Uint8Array): void {
    this.#medium.write(segment.physical, offset, bytes, this.#segmentBytes)
  }

  read(place: Placed): Uint8Array {
    const offset = place.slot * SLOT_BYTES
    const bytes = this.#medium.segments.get(this.at(place.segment).physical)
    return bytes?.slice(offset, offset + BLOCK_BYTES) ?? new Uint8Array()
  }

  at(logical: number): Segment {
    const segment = this.segments.find((each) => each.logical === logical)
    assert(segment !== undefined, 'a segment named is there')
    return segment
  }

  resolve(entry: Placed): Placed {
    let place: Placed = entry
    for (
      let next = this.forwards.get(keyOf(place));
      next !== undefined;
      next = this.forwards.get(keyOf(place))
    ) {
      place = next
    }
    return place
  }

  bitmapOf(segment: Segment): Uint8Array {
    const bitmap = new Uint8Array(this.#segmentBytes / BLOCK_BYTES / 8)
    let length = 0
    if (segment.kind !== 'index') {
      for (const key of this.live) {
        const [logical, slot] = key.split('.').map(Number)
        if (logical !== segment.logical || slot === undefined) continue
        const bit = slot >> 2
        bitmap[bit >> 3] = (bitmap[bit >> 3] ?? 0) | (1 << (bit & 7))
        length = Math.max(length, (bit >> 3) + 1)
      }
    }
    return bitmap.slice(0, length)
  }

  freezeForwards(): CheckpointForwards[] {
    const bySegment = new Map<number, { fromSlot: number; toSlot: number; toSegment: number }[]>()
    for (const [key, to] of this.forwards) {
      const [logical = 0, fromSlot = 0] = key.split('.').map(Number)
      const entries = bySegment.get(logical) ?? []
      entries.push({ fromSlot, toSlot: to.slot, toSegment: to.segment })
      bySegment.set(logical, entries)
    }
    return [...bySegment].map(([logical, entries]) => ({
      logical,
      entries: entries.toSorted((a, b) => a.fromSlot - b.fromSlot),
    }))
  }

  writeTree(map: ReadonlyMap<number, Entry>, level: number, base: number): Entry {
    const span = PAGE_ENTRIES ** level
    const isEmpty = [...map.keys()].every((block) => block < base || block >= base + span * PAGE_ENTRIES)
    if (isEmpty) return ENTRY_EMPTY
    const entries = Array.from({ length: PAGE_ENTRIES }, (_, index) => {
      const from = base + index * span
      return level === 0 ? (map.get(from) ?? ENTRY_EMPTY) : this.writeTree(map, level - 1, from)
    })
    return this.writePage(entries)
  }

  writePage(entries: readonly Entry[], isBlob = false): Entry {
    const bytes = encodePage(entries)
    const place = this.#writeIndex(bytes)
    const birth = isBlob ? (this.at(place.segment).physical as Lsn) : greatestBirth(entries)
    return { ...place, birth, crc: crc32c(bytes) }
  }

  writeBlob(blob: Uint8Array): { root: Entry; height: number } {
    const entryOf = (bytes: Uint8Array): Entry => {
      const place = this.#writeIndex(bytes)
      return { ...place, birth: this.at(place.segment).physical as Lsn, crc: crc32c(bytes) }
    }
    let level: Entry[] = []
    for (let offset = 0; offset < blob.length; offset += PAGE_BYTES) {
      const page = new Uint8Array(PAGE_BYTES)
      page.set(blob.subarray(offset, offset + PAGE_BYTES))
      level.push(entryOf(page))
    }
    const height = checkpointTreeHeight(BigInt(blob.length))
    for (let above = 0; above < height; above++) {
      const pages: Entry[] = []
      for (let index = 0; index < level.length; index += PAGE_ENTRIES) {
        const entries = level.slice(index, index + PAGE_ENTRIES)
        while (entries.length < PAGE_ENTRIES) entries.push(ENTRY_EMPTY)
        pages.push(this.writePage(entries, true))
      }
      level = pages
    }
    const root = level[0] as Entry
    return { root, height }
  }

  reserveIndex(pages: number): void {
    const open = this.segments.find((each) => each.kind === 'index' && each.state === 'open')
    if (open !== undefined && open.used + pages * PAGE_BYTES <= this.#segmentBytes) return
    if (open !== undefined) open.state = 'sealed'
    this.open('index')
  }

  #writeIndex(page: Uint8Array): Placed {
    this.reserveIndex(1)
    const segment = this.segments.find((each) => each.kind === 'index' && each.state === 'open') as Segment
    const slot = segment.used / SLOT_BYTES
    this.#write(segment, segment.used, page)
    segment.used += PAGE_BYTES
    return { segment: segment.logical, slot }
  }
}

/** One key for each place. */
export function keyOf(place: Placed): string {
  return `${String(place.segment)}.${String(place.slot)}`
}
