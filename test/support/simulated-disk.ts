/**
 * A disk for the shipped core, in memory: what was written is read at once, and lasts only once it was synced. A power
 * cut loses any part of what was not. The offline reader takes it as it is.
 */
import { SUPERBLOCK_REGION_BYTES, type StoreMedium } from '@cloudfs/format'
import { type SimCore, type SimIo, type SimWrite, SUPERBLOCK_REGION } from '@cloudfs/native'

/** Gives numbers from 0 to 1, always the same from one seed. */
export type Random = () => number

/** Pages of this size are lost or kept as a whole. */
const SECTOR_BYTES = 512

export class SimulatedDisk implements StoreMedium {
  readonly segmentBytes: number
  /** What a read sees. */
  readonly #places = new Map<number, Buffer>()
  /** What a power cut leaves for certain. */
  readonly #durable = new Map<number, Buffer>()
  #unsynced: SimWrite[] = []

  constructor(segmentBytes: number) {
    this.segmentBytes = segmentBytes
  }

  /** Does what the core asks. */
  carryOut(core: SimCore, io: SimIo): void {
    switch (io.kind) {
      case 'write':
        this.store(io)
        core.complete(io.id)
        break
      case 'read': {
        const bytes = this.#at(this.#places, io.physical).subarray(io.offset, io.offset + io.length)
        core.complete(io.id, 0, bytes)
        break
      }
      case 'sync': {
        const isCovered = (write: SimWrite): boolean => io.physicals.includes(write.physical)
        for (const write of this.#unsynced.filter(isCovered)) this.#keep(write, 0, write.bytes.length)
        this.#unsynced = this.#unsynced.filter((write) => !isCovered(write))
        core.complete(io.id)
        break
      }
      case 'prepare':
        this.#at(this.#places, io.physical)
        this.#at(this.#durable, io.physical)
        core.complete(io.id)
    }
  }

  /** A sync that was asked for now; call what it gives when it is complete. */
  beginSync(physicals: readonly number[]): () => void {
    const covered = this.#unsynced.filter(({ physical }) => physicals.includes(physical))
    return () => {
      for (const write of covered) this.#keep(write, 0, write.bytes.length)
      this.#unsynced = this.#unsynced.filter((write) => !covered.includes(write))
    }
  }

  /** A write that reaches the disk's cache. */
  store(write: SimWrite): void {
    write.bytes.copy(this.#at(this.#places, write.physical), write.offset)
    this.#unsynced.push({ ...write, bytes: Buffer.from(write.bytes) })
  }

  /** What a power cut leaves: of each write that was not synced any sectors, in any order. */
  cutPower(random: Random): SimulatedDisk {
    for (const write of this.#unsynced) {
      const keptShare = random() < 0.3 ? 0 : random() < 0.5 ? 1 : random()
      for (let offset = 0; offset < write.bytes.length; offset += SECTOR_BYTES) {
        if (random() < keptShare)
          this.#keep(write, offset, Math.min(SECTOR_BYTES, write.bytes.length - offset))
      }
    }
    const after = new SimulatedDisk(this.segmentBytes)
    for (const [physical, bytes] of this.#durable) {
      after.#places.set(physical, Buffer.from(bytes))
      after.#durable.set(physical, Buffer.from(bytes))
    }
    return after
  }

  /** Rots one bit. */
  flip(physical: number, offset: number): void {
    const bytes = this.#at(this.#places, physical)
    bytes[offset] = (bytes[offset] ?? 0) ^ 1
  }

  readSuperblocks(): Promise<Uint8Array> {
    return Promise.resolve(new Uint8Array(this.#at(this.#places, SUPERBLOCK_REGION)))
  }

  listSegments(): Promise<number[]> {
    const physicals = [...this.#places.keys()].filter((physical) => physical !== SUPERBLOCK_REGION)
    return Promise.resolve(physicals.toSorted((a, b) => a - b))
  }

  readSegment(physical: number, offset: number, bytes: number): Promise<Uint8Array> {
    return Promise.resolve(new Uint8Array(this.#places.get(physical)?.subarray(offset, offset + bytes) ?? []))
  }

  #keep(write: SimWrite, offset: number, bytes: number): void {
    write.bytes.copy(this.#at(this.#durable, write.physical), write.offset + offset, offset, offset + bytes)
  }

  #at(places: Map<number, Buffer>, physical: number): Buffer {
    let bytes = places.get(physical)
    if (bytes === undefined) {
      bytes = Buffer.alloc(physical === SUPERBLOCK_REGION ? SUPERBLOCK_REGION_BYTES : this.segmentBytes)
      places.set(physical, bytes)
    }
    return bytes
  }
}

/** A generator of numbers from a seed (mulberry32). */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
