/** The contents of a volume or snapshot of a stopped store, piece by piece. */
import { BLOCK_BYTES, BlockCorruptError, SLOT_BYTES } from '@cloudfs/interface'
import { crc32c } from '../crc32c.js'
import type { Entry } from '../entry.js'
import type { OfflineStore } from './open-store.js'
import { describePlace, type Place } from './segment-table.js'
import type { StoredVersion } from './volume.js'

/** A part of a version, in order and without gaps. */
export interface VersionPiece {
  /** From the start of the volume, in bytes. */
  readonly offset: number
  readonly bytes: number
  /** What is stored there; none where it reads as zeros. */
  readonly data?: Uint8Array
}

/** Blocks read at once; a piece of data is no longer. */
const PIECE_BLOCKS_MAX = 256

interface Wanted {
  readonly block: number
  readonly entry: Entry
  readonly place: Place
}

/**
 * Reads a version from its start to its end, each block checked by its crc.
 *
 * @throws {BlockCorruptError} a block fails its checksum; `details.offset` says where in the volume
 * @throws {StoreCorruptError} a page of the map is damaged
 */
export async function* readVersion(
  store: OfflineStore,
  version: StoredVersion,
): AsyncGenerator<VersionPiece> {
  const blocks = Number(version.sizeBytes / BigInt(BLOCK_BYTES))
  let wanted: Wanted[] = []
  let hole: { block: number; count: number } | undefined
  for await (const { block, count, entry } of version.map.ranges(0, blocks)) {
    if (entry.segment === 0) {
      if (wanted.length > 0) yield await readBlocks(store, wanted)
      wanted = []
      hole = { block: hole?.block ?? block, count: (hole?.count ?? 0) + count }
      continue
    }
    if (hole !== undefined) yield { offset: hole.block * BLOCK_BYTES, bytes: hole.count * BLOCK_BYTES }
    hole = undefined
    wanted.push({ block, entry, place: store.table.resolve(entry) })
    if (wanted.length < PIECE_BLOCKS_MAX) continue
    yield await readBlocks(store, wanted)
    wanted = []
  }
  if (wanted.length > 0) yield await readBlocks(store, wanted)
  if (hole !== undefined) yield { offset: hole.block * BLOCK_BYTES, bytes: hole.count * BLOCK_BYTES }
}

/** One piece of neighbouring blocks; those that are neighbours in a segment too are read together. */
async function readBlocks(store: OfflineStore, wanted: readonly Wanted[]): Promise<VersionPiece> {
  const data = new Uint8Array(wanted.length * BLOCK_BYTES)
  for (let index = 0; index < wanted.length;) {
    const first = wanted[index] as Wanted
    let count = 1
    while (isBehind(wanted[index + count]?.place, first.place, count)) count++
    data.set(await store.table.readBlocks(first.place, count), index * BLOCK_BYTES)
    index += count
  }
  for (const [index, { block, entry, place }] of wanted.entries()) {
    if (crc32c(data.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES)) === entry.crc) continue
    throw new BlockCorruptError(`block ${String(block)}, in ${describePlace(place)}, fails its checksum`, {
      block,
      offset: block * BLOCK_BYTES,
      segment: place.segment,
      slot: place.slot,
    })
  }
  return { offset: (wanted[0] as Wanted).block * BLOCK_BYTES, bytes: data.length, data }
}

function isBehind(place: Place | undefined, first: Place, count: number): boolean {
  return place?.segment === first.segment && place.slot === first.slot + (count * BLOCK_BYTES) / SLOT_BYTES
}
