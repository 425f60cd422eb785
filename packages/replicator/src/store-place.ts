/** The store as a place on a disk: whether there is one, whose it is, how its log is cut. */
import { closeSync, mkdirSync, openSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { chooseSuperblock, SUPERBLOCK_REGION_BYTES, type Superblock } from '@cloudfs/format'
import { StoreCorruptError, StoreNotFoundError } from '@cloudfs/interface'

/**
 * The newest valid superblock; `undefined` where there is none, which for a directory means that a store can be made.
 *
 * @throws {StoreVersionError} of a later version of CloudFS
 */
export function trySuperblock(store: string): Superblock | undefined {
  const stat = statSync(store, { throwIfNoEntry: false })
  if (stat === undefined) return undefined
  const path = stat.isDirectory() ? join(store, 'superblock') : store
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return undefined
  const region = Buffer.alloc(SUPERBLOCK_REGION_BYTES)
  const fd = openSync(path, 'r')
  try {
    readSync(fd, region, 0, region.length, 0)
  } finally {
    closeSync(fd)
  }
  try {
    return chooseSuperblock(region).superblock
  } catch (error) {
    if (error instanceof StoreCorruptError || error instanceof StoreNotFoundError) return undefined
    throw error
  }
}

/** Where the host key lies: in a store that is a directory, else in the node's own. */
export function keyDirectoryOf(store: string, directory: string): string {
  const stat = statSync(store, { throwIfNoEntry: false })
  if (stat !== undefined && !stat.isDirectory()) return directory
  mkdirSync(store, { recursive: true, mode: 0o700 })
  return store
}

/** Whether a store may be made here without being asked to: devices and files are `cloudfs format`'s. */
export function mayFormat(store: string): boolean {
  const stat = statSync(store, { throwIfNoEntry: false })
  return stat === undefined || (stat.isDirectory() && !existsIn(store, 'superblock'))
}

function existsIn(directory: string, name: string): boolean {
  return statSync(join(directory, name), { throwIfNoEntry: false }) !== undefined
}
