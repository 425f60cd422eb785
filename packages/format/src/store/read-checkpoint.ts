/** From the superblock to the checkpoint's tables. */
import { type Lsn, PAGE_BYTES, SLOT_BYTES, StoreCorruptError } from '@cloudfs/interface'
import { type Checkpoint, decodeCheckpoint } from '../checkpoint.js'
import { decodePage } from '../page.js'
import type { Superblock } from '../superblock.js'
import { ENTRY_EMPTY, type Entry } from '../entry.js'
import type { StoreMedium } from './medium.js'
import { checkedPage } from './segment-table.js'

/** What a store holds that was formatted and never checkpointed: nothing. */
const EMPTY: Checkpoint = {
  store: { nextLogical: 1, nextSequence: 1n, replaySequence: 1n, nextNode: 1n },
  segments: [],
  nodes: [],
  volumes: [],
  forwards: [],
  locals: [],
}

export interface ReadCheckpoint {
  readonly checkpoint: Checkpoint
  /** Pages of the blob and of the tree above it. */
  readonly pages: readonly Entry[]
}

/**
 * The checkpoint that the superblock names, each page checked by the entry that points to it.
 *
 * @throws {StoreCorruptError} a page fails its checksum, or the tree is not of the length it is said to be
 * @throws {CheckpointCorruptError} the pages hold, the tables in them do not
 */
export async function readCheckpoint(medium: StoreMedium, superblock: Superblock): Promise<ReadCheckpoint> {
  if (superblock.checkpoint.segment === 0) return { checkpoint: EMPTY, pages: [] }
  const segmentBytes = 2 ** superblock.segmentLog2
  const pages: Entry[] = []
  const read = async (entry: Entry): Promise<Uint8Array> => {
    // In these pages `birth` is the physical place.
    const bytes = await medium.readSegment(entry.birth, entry.slot * SLOT_BYTES, PAGE_BYTES, segmentBytes)
    pages.push(entry)
    return checkedPage(bytes, entry)
  }

  const pageCount = Math.ceil(Number(superblock.checkpointBytes) / PAGE_BYTES)
  let level: Entry[] = [{ ...superblock.checkpoint, birth: superblock.checkpointPhysical as Lsn }]
  for (let height = superblock.checkpointHeight; height > 0; height--) {
    const below: Entry[] = []
    for (const entry of level) below.push(...decodePage(await read(entry)))
    level = below.slice(0, Math.ceil(pageCount / 256 ** (height - 1)))
    const surplus = below.slice(level.length)
    if (
      level.some((entry) => entry.segment === 0) ||
      surplus.some((entry) => entry.segment !== ENTRY_EMPTY.segment)
    ) {
      throw new StoreCorruptError(`the checkpoint's tree does not reach ${String(pageCount)} pages`)
    }
  }
  const blob = new Uint8Array(pageCount * PAGE_BYTES)
  for (const [index, entry] of level.entries()) blob.set(await read(entry), index * PAGE_BYTES)
  const length = Number(superblock.checkpointBytes)
  if (blob.subarray(length).some((byte) => byte !== 0)) {
    throw new StoreCorruptError('the checkpoint’s last page is not padded with zeros')
  }
  return { checkpoint: decodeCheckpoint(blob.subarray(0, length)), pages }
}
