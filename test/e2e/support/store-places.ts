/** Where in the files of a stopped store things lie, as the offline reader finds them; to damage them there. */
import { closeSync, openSync, readdirSync, readFileSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import {
  decodeBatch,
  decodeSuperblock,
  type Entry,
  findVersion,
  type OfflineStore,
  openStore,
  readVersion,
  SEGMENT_HEADER_BYTES,
  type StoreMedium,
  SUPERBLOCK_BYTES,
} from '@cloudfs/format'
import { PAGE_ENTRIES, SLOT_BYTES, type VolumeId } from '@cloudfs/interface'

const RUN_HEADER_BYTES = 128
/** In a record's descriptor. */
const REQUEST_SEQUENCE_OFFSET = 8

/** A place in a file of a store. */
export interface Place {
  /** Below the store's directory. */
  readonly file: string
  readonly offset: number
  /** As messages name it: the segment's logical id. */
  readonly segment?: number
}

/** Changes one bit of a store in a directory, and nothing else: an engine may write there meanwhile. */
export function flipBit(path: string, { file, offset }: Place): void {
  const fd = openSync(join(path, file), 'r+')
  const byte = Buffer.alloc(1)
  readSync(fd, byte, 0, 1, offset)
  byte[0] = (byte[0] ?? 0) ^ 0x10
  writeSync(fd, byte, 0, 1, offset)
  closeSync(fd)
}

/** In the middle of a copy, 0 or 1, of the superblock. */
export function superblockPlace(copy: number): Place {
  return { file: 'superblock', offset: copy * SUPERBLOCK_BYTES + 100 }
}

/** Holds no lock: for a store of a process that has ended. */
export class StorePlaces {
  readonly #medium: StoreMedium
  readonly store: OfflineStore

  private constructor(medium: StoreMedium, store: OfflineStore) {
    this.#medium = medium
    this.store = store
  }

  static async open(path: string): Promise<StorePlaces> {
    const medium = directoryMedium(path)
    return new StorePlaces(medium, await openStore(medium))
  }

  /** The copy of the superblock that counts: 0 or 1. */
  async newerSuperblock(): Promise<number> {
    const region = await this.#medium.readSuperblocks()
    const [a, b] = [0, 1].map(
      (copy) =>
        decodeSuperblock(region.subarray(copy * SUPERBLOCK_BYTES, (copy + 1) * SUPERBLOCK_BYTES)).sequence,
    ) as [bigint, bigint]
    return a > b ? 0 : 1
  }

  /** A page of the checkpoint. Its entries name physical places. */
  checkpointPage(): Place {
    const { checkpointPages } = this.store
    const entry = checkpointPages[0]
    if (entry === undefined) throw new Error('the store has no checkpoint')
    return this.#placeAt(entry.birth, entry.segment, entry.slot * SLOT_BYTES)
  }

  /** The leaf of the volume's map, as the checkpoint has it, in which a block's entry stands. */
  async mapLeaf(volume: VolumeId, block: number): Promise<Place> {
    const { checkpoint, frozenTable } = this.store
    const head = checkpoint.volumes.find(({ id }) => id === volume)?.headNode
    const node = checkpoint.nodes.find(({ id }) => id === head)
    if (node === undefined) throw new Error('the checkpoint does not have the volume')
    let entry = node.root
    for (let level = node.height - 1; level > 0; level--) {
      const index = Math.floor(block / PAGE_ENTRIES ** level) % PAGE_ENTRIES
      entry = (await frozenTable.readPage(entry))[index] as Entry
    }
    return this.#place(entry.segment, entry.slot * SLOT_BYTES)
  }

  /** A block's bytes. */
  async block(volume: VolumeId, block: number): Promise<Place> {
    const { map } = findVersion(this.store, volume)
    const { segment, slot } = this.store.table.resolve(await map.lookup(block))
    if (segment === 0) throw new Error('nothing is stored there')
    return this.#place(segment, slot * SLOT_BYTES)
  }

  /** The header of the record that wrote a block; `segment` and `batch` as messages name its batch. */
  async record(
    volume: VolumeId,
    block: number,
  ): Promise<Place & { readonly batch: number; readonly sequence: bigint }> {
    const { offset: bodyOffset, segment: logical = 0 } = await this.block(volume, block)
    const segment = this.store.table.segments.get(logical)
    if (segment === undefined) throw new Error(`no segment ${String(logical)}`)
    const bytes = await this.store.table.read(segment, 0, this.store.table.segmentBytes)
    let batch = SEGMENT_HEADER_BYTES
    for (;;) {
      const { batchBytes, sequence, placed } = decodeBatch(bytes.subarray(batch))
      const runOffset = placed[0]?.runOffset ?? 0
      const offset = batch + runOffset + RUN_HEADER_BYTES + REQUEST_SEQUENCE_OFFSET
      if (bodyOffset < batch + batchBytes) return { ...this.#place(logical, offset), batch, sequence }
      batch += batchBytes
    }
  }

  /** All of a volume, checked block by block. */
  async contents(volume: VolumeId): Promise<Buffer> {
    const version = findVersion(this.store, volume)
    const bytes = Buffer.alloc(Number(version.sizeBytes))
    for await (const { offset, data } of readVersion(this.store, version))
      if (data !== undefined) bytes.set(data, offset)
    return bytes
  }

  #place(logical: number, offset: number): Place {
    const segment = this.store.table.segments.get(logical)
    if (segment === undefined) throw new Error(`no segment ${String(logical)}`)
    return this.#placeAt(segment.physical, logical, offset)
  }

  #placeAt(physical: number, segment: number, offset: number): Place {
    return { file: join('segments', segmentName(physical)), offset, segment }
  }
}

const segmentName = (physical: number): string => `${physical.toString(16).padStart(8, '0')}.seg`

function directoryMedium(path: string): StoreMedium {
  return {
    readSuperblocks: () => Promise.resolve(readFileSync(join(path, 'superblock'))),
    listSegments: () =>
      Promise.resolve(
        readdirSync(join(path, 'segments'))
          .map((name) => Number.parseInt(name, 16))
          .toSorted((a, b) => a - b),
      ),
    readSegment: (physical, offset, bytes) =>
      Promise.resolve(
        readFileSync(join(path, 'segments', segmentName(physical))).subarray(offset, offset + bytes),
      ),
  }
}
