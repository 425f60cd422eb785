/** Superblock: identity of a store and the way to its checkpoint (docs/disk-format.md, Superblock). */
import assert from 'node:assert'
import {
  HostId,
  PAGE_BYTES,
  PAGE_ENTRIES,
  SLOT_BYTES,
  StoreId,
  StoreVersionError,
  SuperblockCorruptError,
} from '@cloudfs/interface'
import { ByteReader } from './byte-reader.js'
import { ByteWriter } from './byte-writer.js'
import { crc32c } from './crc32c.js'
import { type Entry, isSameEntry, ENTRY_EMPTY, readValidEntry, writeEntry } from './entry.js'
import { HASH_CODE } from './hash.js'

export const FORMAT_VERSION = 1
export const SUPERBLOCK_BYTES = 4096
/** Both copies. */
export const SUPERBLOCK_REGION_BYTES = 2 * SUPERBLOCK_BYTES
export const SEGMENT_LOG2_MIN = 16
export const SEGMENT_LOG2_MAX = 26

const MAGIC = 'CLOUDFS1'

export interface Superblock {
  readonly segmentLog2: number
  readonly store: StoreId
  readonly host: HostId
  readonly generation: bigint
  readonly sequence: bigint
  /** Greatest number of physical segments. */
  readonly segmentLimit: number
  /** Root page of the checkpoint tree; `segment` 0 = no checkpoint yet, and the next three are 0. */
  readonly checkpoint: Entry
  readonly checkpointBytes: bigint
  readonly checkpointPhysical: number
  readonly checkpointHeight: number
  /** Starts of the store so far, from 1 at format. */
  readonly starts: bigint
}

export function encodeSuperblock(superblock: Superblock): Uint8Array {
  const writer = new ByteWriter()
  writer.text(MAGIC).u32(FORMAT_VERSION).u32(superblock.segmentLog2)
  writer.id(StoreId, superblock.store).id(HostId, superblock.host)
  writer.u64(superblock.generation).u64(superblock.sequence).u32(HASH_CODE).u32(superblock.segmentLimit)
  writeEntry(writer, superblock.checkpoint)
  writer.u64(superblock.checkpointBytes).u32(superblock.checkpointPhysical).u32(superblock.checkpointHeight)
  writer.u64(superblock.starts)
  writer.zeros(SUPERBLOCK_BYTES - 4 - writer.length)
  return writer.u32(crc32c(writer.finish())).finish()
}

/**
 * Decodes one copy.
 *
 * @throws {StoreVersionError} intact, but of a later version or with a hash function this version lacks
 * @throws {SuperblockCorruptError} anything else that is not a superblock, torn copies included
 */
export function decodeSuperblock(bytes: Uint8Array): Superblock {
  const reader = new ByteReader(bytes.subarray(0, SUPERBLOCK_BYTES), 'superblock', SuperblockCorruptError)
  checkPage(bytes, reader, MAGIC)
  const version = reader.u32('version')
  if (version > FORMAT_VERSION) {
    throw new StoreVersionError(
      `the store is of format version ${String(version)}; this program reads ${String(FORMAT_VERSION)}`,
      {
        version,
      },
    )
  }
  if (version !== FORMAT_VERSION) reader.refuse('version', 'is 0')
  const segmentLog2 = reader.u32('segmentLog2')
  const store = reader.id('storeId', StoreId)
  const host = reader.id('hostId', HostId)
  const generation = reader.u64('generation')
  const sequence = reader.u64('sequence')
  const hashCode = reader.u32('hashCode')
  if (hashCode !== HASH_CODE) {
    throw new StoreVersionError(
      `the store's hash function, multihash code ${String(hashCode)}, is not known here`,
      { hashCode },
    )
  }
  const superblock: Superblock = {
    segmentLog2,
    store,
    host,
    generation,
    sequence,
    segmentLimit: reader.u32('segmentLimit'),
    checkpoint: readValidEntry(reader, 'checkpoint'),
    checkpointBytes: reader.u64('checkpointBytes'),
    checkpointPhysical: reader.u32('checkpointPhysical'),
    checkpointHeight: reader.u32('checkpointHeight'),
    starts: reader.u64('starts'),
  }
  reader.zeros('reserved', SUPERBLOCK_BYTES - 4 - reader.offset)
  const fault = faultOf(superblock)
  if (fault !== undefined) reader.refuse(fault, 'is out of its range')
  return superblock
}

/** Length, magic and the crc in the last 4 bytes: what a superblock and a segment header have in common. */
export function checkPage(bytes: Uint8Array, reader: ByteReader, magic: string): void {
  if (bytes.length < PAGE_BYTES)
    reader.refuse('length', `is ${String(bytes.length)}, below ${String(PAGE_BYTES)}`)
  const found = reader.view('magic', magic.length)
  if (!Buffer.from(magic).equals(found)) reader.refuse('magic', 'is another')
  const stored = new DataView(bytes.buffer, bytes.byteOffset).getUint32(PAGE_BYTES - 4, true)
  if (crc32c(bytes.subarray(0, PAGE_BYTES - 4)) !== stored) reader.refuse('crc', 'does not hold')
}

/** Levels of interior pages above the pages of a blob of this length: the least that reach all of them. */
export function checkpointTreeHeight(checkpointBytes: bigint): number {
  assert(checkpointBytes > 0n, 'a checkpoint is not empty')
  let height = 0
  for (let reach = BigInt(PAGE_BYTES); reach < checkpointBytes; reach *= BigInt(PAGE_ENTRIES)) height++
  return height
}

/** Name of the first field that is not what the format's table of decoding asks for. */
function faultOf(superblock: Superblock): keyof Superblock | undefined {
  const { segmentLog2, segmentLimit, starts, checkpoint, checkpointBytes } = superblock
  if (segmentLog2 < SEGMENT_LOG2_MIN || segmentLog2 > SEGMENT_LOG2_MAX) return 'segmentLog2'
  if (segmentLimit < 1) return 'segmentLimit'
  if (starts < 1n) return 'starts'
  if (checkpoint.segment === 0) {
    if (!isSameEntry(checkpoint, ENTRY_EMPTY)) return 'checkpoint'
    if (checkpointBytes !== 0n) return 'checkpointBytes'
    if (superblock.checkpointPhysical !== 0) return 'checkpointPhysical'
    return superblock.checkpointHeight === 0 ? undefined : 'checkpointHeight'
  }
  const segmentBytes = 2 ** segmentLog2
  if (!isIndexSlot(checkpoint.slot, segmentBytes)) return 'checkpoint'
  if (checkpointBytes < 1n || checkpointBytes > BigInt(segmentLimit) * BigInt(segmentBytes))
    return 'checkpointBytes'
  if (superblock.checkpointPhysical >= segmentLimit) return 'checkpointPhysical'
  return superblock.checkpointHeight === checkpointTreeHeight(checkpointBytes)
    ? undefined
    : 'checkpointHeight'
}

/** Whether a page may lie there: behind the segment's header, page by page. */
export function isIndexSlot(slot: number, segmentBytes: number): boolean {
  const slotsPerPage = PAGE_BYTES / SLOT_BYTES
  return slot >= slotsPerPage && slot % slotsPerPage === 0 && slot * SLOT_BYTES + PAGE_BYTES <= segmentBytes
}
