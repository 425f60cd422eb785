/** A store's superblock, read from the outside. */
import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { chooseSuperblock, SUPERBLOCK_REGION_BYTES, type Superblock } from '@cloudfs/format'

/**
 * The valid copy with the greater sequence.
 *
 * @throws {StoreVersionError} of a later version
 * @throws {StoreNotFoundError} the place is empty
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
  return chooseSuperblock(region).superblock
}
