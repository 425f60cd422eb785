/** A store's superblock, read from the outside. */
import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { decodeSuperblock, SUPERBLOCK_BYTES, SUPERBLOCK_REGION_BYTES, type Superblock } from '@cloudfs/format'
import { StoreCorruptError, StoreVersionError } from '@cloudfs/interface'

/**
 * The valid copy with the greater sequence.
 *
 * @throws {StoreVersionError} of a later version
 * @throws {StoreCorruptError} neither copy is valid
 */
export function readSuperblock(storePath: string): Superblock {
  const path = statSync(storePath).isDirectory() ? join(storePath, 'superblock') : storePath
  const region = Buffer.alloc(SUPERBLOCK_REGION_BYTES)
  const fd = openSync(path, 'r')
  try {
    readSync(fd, region, 0, region.length, 0)
  } finally {
    closeSync(fd)
  }
  const copies = [0, SUPERBLOCK_BYTES].flatMap((at) => {
    try {
      return [decodeSuperblock(region.subarray(at, at + SUPERBLOCK_BYTES))]
    } catch (error) {
      if (error instanceof StoreVersionError) throw error
      return []
    }
  })
  const newest = copies.sort((a, b) => (a.sequence < b.sequence ? 1 : -1))[0]
  if (newest === undefined) throw new StoreCorruptError(`no valid superblock at ${path}`)
  return newest
}
