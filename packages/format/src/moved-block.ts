/** Moved blocks: what the cleaner wrote anew, in runs of type 2 (docs/disk-format.md, Moved block). */
import { LSN_MAX, type Lsn, VOLUME_BLOCKS_MAX } from '@cloudfs/interface'
import type { ByteReader } from './byte-reader.js'
import type { ByteWriter } from './byte-writer.js'
import { DIGEST_BYTES } from './hash.js'
import type { BlockSum } from './record.js'

export const MOVED_BLOCK_BYTES = 44

export interface MovedBlock extends BlockSum {
  /** Number in the volume that wrote it. */
  readonly block: number
  /** The update that wrote it. */
  readonly birth: Lsn
  readonly fromSegment: number
  readonly fromSlot: number
}

export function writeMovedBlock(writer: ByteWriter, moved: MovedBlock): void {
  writer.u64(moved.block).u64(moved.birth).u32(moved.fromSegment).u16(moved.fromSlot).zeros(2)
  writer.u32(moved.crc).bytes(moved.digest)
}

export function readMovedBlock(reader: ByteReader): MovedBlock {
  const block = Number(reader.u64('block', BigInt(VOLUME_BLOCKS_MAX - 1)))
  const birth = Number(reader.u64('birth', BigInt(LSN_MAX))) as Lsn
  const fromSegment = reader.u32('fromSegment')
  const fromSlot = reader.u16('fromSlot')
  reader.zeros('reserved', 2)
  if (birth === 0) reader.refuse('birth', 'is 0')
  if (fromSegment === 0) reader.refuse('fromSegment', 'is 0')
  return {
    block,
    birth,
    fromSegment,
    fromSlot,
    crc: reader.u32('crc'),
    digest: reader.bytes('digest', DIGEST_BYTES),
  }
}
