/** A whole store, fixed for ever, as it lies on a device: both superblock copies at 0, segments from 1 MiB on (docs/disk-format.md). */
import { BLOCK_BYTES, MIB } from '@cloudfs/interface'
import { MemoryMedium } from './memory-medium.js'
import { StoreBuilder } from './store-builder.js'

const SEGMENT_LOG2 = 16

/** Snapshot, branch, moved blocks, checkpoint, restart, a log behind it. */
export function makeGoldenStore(): MemoryMedium {
  const builder = new StoreBuilder({ seed: 'golden', segmentLog2: SEGMENT_LOG2 })
  const blocks = (...fills: number[]): Uint8Array[] =>
    fills.map((fill) => new Uint8Array(BLOCK_BYTES).fill(fill))
  const disk = builder.create('disk', 300)
  builder.write(disk, 0, blocks(1, 2, 3))
  builder.write(disk, 299, blocks(4))
  builder.snapshot(disk, 'monday')
  builder.write(disk, 1, blocks(5))
  const branch = builder.branch(disk, 'branch')
  builder.write(branch, 0, blocks(6))
  builder.move(disk, [0, 1])
  builder.checkpoint()
  builder.trim(disk, 2, 1)
  builder.restart()
  builder.write(branch, 298, blocks(7, 8))
  builder.sync()
  builder.resize(disk, 299)
  builder.append()
  return builder.medium
}

/** The store as the bytes of one device. */
export function toDeviceImage(medium: MemoryMedium): Uint8Array {
  const physicals = [...medium.segments.keys()]
  const image = new Uint8Array(MIB + (Math.max(...physicals) + 1) * 2 ** SEGMENT_LOG2)
  image.set(medium.superblocks)
  for (const [physical, bytes] of medium.segments) image.set(bytes, MIB + physical * 2 ** SEGMENT_LOG2)
  return image
}

/** The other way round. */
export function fromDeviceImage(image: Uint8Array): MemoryMedium {
  const medium = new MemoryMedium()
  medium.superblocks.set(image.subarray(0, medium.superblocks.length))
  for (let offset = MIB; offset < image.length; offset += 2 ** SEGMENT_LOG2) {
    medium.segments.set((offset - MIB) / 2 ** SEGMENT_LOG2, image.slice(offset, offset + 2 ** SEGMENT_LOG2))
  }
  return medium
}
