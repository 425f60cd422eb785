/** A store's bytes in memory, for tests that make and damage stores. */
import type { StoreMedium } from '../store/medium.js'
import { SUPERBLOCK_BYTES, SUPERBLOCK_REGION_BYTES } from '../superblock.js'

export class MemoryMedium implements StoreMedium {
  readonly superblocks = new Uint8Array(SUPERBLOCK_REGION_BYTES)
  readonly segments = new Map<number, Uint8Array>()

  readSuperblocks(): Promise<Uint8Array> {
    return Promise.resolve(this.superblocks.slice())
  }

  listSegments(): Promise<number[]> {
    return Promise.resolve([...this.segments.keys()].toSorted((a, b) => a - b))
  }

  readSegment(physical: number, offset: number, bytes: number): Promise<Uint8Array> {
    return Promise.resolve(this.segments.get(physical)?.slice(offset, offset + bytes) ?? new Uint8Array())
  }

  writeSuperblock(copy: 0 | 1, bytes: Uint8Array): void {
    this.superblocks.set(bytes, copy * SUPERBLOCK_BYTES)
  }

  /** @param segmentBytes - the segment's length if it is new; its bytes are zeros then */
  write(physical: number, offset: number, bytes: Uint8Array, segmentBytes: number): void {
    let segment = this.segments.get(physical)
    if (segment === undefined) {
      segment = new Uint8Array(segmentBytes)
      this.segments.set(physical, segment)
    }
    segment.set(bytes, offset)
  }

  /** A copy that can be damaged. */
  clone(): MemoryMedium {
    const copy = new MemoryMedium()
    copy.superblocks.set(this.superblocks)
    for (const [physical, bytes] of this.segments) copy.segments.set(physical, bytes.slice())
    return copy
  }

  /** Flips bits of one byte. */
  flip(physical: number, offset: number, xor = 0x01): void {
    const segment = this.segments.get(physical)
    if (segment === undefined || offset >= segment.length) throw new Error('nothing to damage there')
    segment[offset] = (segment[offset] ?? 0) ^ xor
  }
}
