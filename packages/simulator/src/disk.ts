/**
 * A disk for the shipped core, in memory: what was written is read at once, and lasts only once it was synced. A power
 * cut loses any part of what was not. The offline reader takes it as it is.
 */
import { SUPERBLOCK_REGION_BYTES, type StoreMedium } from '@cloudfs/format'
import { type SimCore, type SimIo, type SimWrite, SUPERBLOCK_REGION } from '@cloudfs/native'
import { below, type Random } from './random.js'

/** Pages of this size are lost or kept as a whole. */
export const SECTOR_BYTES = 512

/** Where something lies on a disk. */
interface Place {
  readonly physical: number
  readonly offset: number
}

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
      case 'read':
        core.complete(io.id, 0, this.read(io.physical, io.offset, io.length))
        break
      case 'sync':
        this.beginSync(io.physicals)()
        core.complete(io.id)
        break
      case 'prepare':
        this.prepare(io.physical)
        core.complete(io.id)
    }
  }

  /** What a reader sees now; it may change later. */
  read(physical: number, offset: number, length: number): Buffer {
    return this.#at(this.#places, physical).subarray(offset, offset + length)
  }

  /** The segment exists at full size, synced. */
  prepare(physical: number): void {
    this.#at(this.#places, physical)
    this.#at(this.#durable, physical)
  }

  isPrepared(physical: number): boolean {
    return this.#durable.has(physical)
  }

  bytesOf(physical: number): number {
    return physical === SUPERBLOCK_REGION ? SUPERBLOCK_REGION_BYTES : this.segmentBytes
  }

  /** A sync that was asked for now; call what it gives when it is complete. */
  beginSync(physicals: readonly number[]): () => void {
    const covered = new Set(this.#unsynced.filter(({ physical }) => physicals.includes(physical)))
    return () => {
      for (const write of covered) this.#keep(write, 0, write.bytes.length)
      this.#unsynced = this.#unsynced.filter((write) => !covered.has(write))
    }
  }

  /** A write that reaches the disk's cache. */
  store(write: SimWrite): void {
    write.bytes.copy(this.#at(this.#places, write.physical), write.offset)
    this.#unsynced.push(write)
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

  /** Rots one bit, for good. */
  flip(physical: number, offset: number, bit = 0): void {
    for (const places of [this.#places, this.#durable]) {
      const bytes = this.#at(places, physical)
      bytes[offset] = (bytes[offset] ?? 0) ^ (1 << bit)
    }
  }

  /**
   * A write of long ago turns out to have landed at `target` instead of its own place, which has what stood there before: the
   * bytes of `before`, another place, or zeros.
   */
  misdirect(own: Place, target: Place, length: number, before?: Place): void {
    for (const places of [this.#places, this.#durable]) {
      const from = this.#at(places, own.physical).subarray(own.offset, own.offset + length)
      const older =
        before === undefined
          ? Buffer.alloc(length)
          : Buffer.from(this.#at(places, before.physical).subarray(before.offset, before.offset + length))
      from.copy(this.#at(places, target.physical), target.offset)
      older.copy(from)
    }
  }

  /** Each segment, as a power cut would leave it if nothing else lasted. */
  *kept(): Iterable<readonly [number, Buffer]> {
    for (const [physical, bytes] of this.#durable) if (physical !== SUPERBLOCK_REGION) yield [physical, bytes]
  }

  /** A place that was written, anywhere. */
  anyPlace(random: Random): { readonly physical: number; readonly offset: number } {
    const places = [...this.#places.keys()].toSorted((a, b) => a - b)
    for (let tries = 0; ; tries++) {
      const physical = places[below(random, places.length)] ?? SUPERBLOCK_REGION
      const bytes = this.#at(this.#places, physical)
      const offset = below(random, bytes.length)
      if (bytes[offset] !== 0 || tries === 100) return { physical, offset }
    }
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
      bytes = Buffer.alloc(this.bytesOf(physical))
      places.set(physical, bytes)
    }
    return bytes
  }
}
