/** A stopped node's store, as a directory, a block device or one big file, for reading alone (docs/disk-format.md). */
import { type FileHandle, open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type StoreMedium, SUPERBLOCK_REGION_BYTES } from '@cloudfs/format'
import { MIB, StoreIoError, StoreNotFoundError } from '@cloudfs/interface'
import { lockShared } from './store-lock.js'

/** A store that is open, and locked until it is closed. */
export interface StoreFiles extends StoreMedium {
  close(): Promise<void>
}

/**
 * Opens and locks a store.
 *
 * @throws {StoreNotFoundError} nothing is at `path`, or no store is
 * @throws {StoreLockedError} a process has it open
 * @throws {StoreIoError} the operating system refused
 */
export async function openStoreFiles(path: string): Promise<StoreFiles> {
  const isDirectory = await guarded(path, async () => (await stat(path)).isDirectory())
  return isDirectory ? StoreDirectory.open(path) : StoreDevice.open(path)
}

/** Segments kept open. Past this the one opened first is closed. */
const OPEN_FILES_MAX = 64

class StoreDirectory implements StoreFiles {
  readonly #path: string
  readonly #lock: FileHandle | undefined
  readonly #files = new Map<number, FileHandle>()

  private constructor(path: string, lock: FileHandle | undefined) {
    this.#path = path
    this.#lock = lock
  }

  static async open(path: string): Promise<StoreDirectory> {
    await guarded(path, async () => {
      await (await open(join(path, 'superblock'))).close()
    })
    const lock = await openLock(path)
    return new StoreDirectory(path, lock)
  }

  readSuperblocks(): Promise<Uint8Array> {
    return guarded(this.#path, async () => {
      const file = await open(join(this.#path, 'superblock'))
      try {
        return await readAt(file, 0, SUPERBLOCK_REGION_BYTES)
      } finally {
        await file.close()
      }
    })
  }

  async listSegments(): Promise<number[]> {
    try {
      const names = await readdir(join(this.#path, 'segments'))
      return names
        .flatMap((name) => /^([0-9a-f]{8})\.seg$/.exec(name)?.[1] ?? [])
        .map((digits) => Number.parseInt(digits, 16))
        .toSorted((a, b) => a - b)
    } catch (error) {
      if (isMissing(error)) return []
      throw new StoreIoError(`the segments of the store at ${this.#path} cannot be listed`, { cause: error })
    }
  }

  async readSegment(physical: number, offset: number, bytes: number): Promise<Uint8Array> {
    try {
      return await readAt(await this.#file(physical), offset, bytes)
    } catch (error) {
      if (isMissing(error)) return new Uint8Array()
      throw new StoreIoError(`segment file ${nameOf(physical)} cannot be read`, {
        cause: error,
        physical,
        offset,
      })
    }
  }

  async close(): Promise<void> {
    for (const file of this.#files.values()) await file.close()
    this.#files.clear()
    await this.#lock?.close()
  }

  async #file(physical: number): Promise<FileHandle> {
    const known = this.#files.get(physical)
    if (known !== undefined) return known
    const [oldest] = this.#files
    if (oldest !== undefined && this.#files.size >= OPEN_FILES_MAX) {
      this.#files.delete(oldest[0])
      await oldest[1].close()
    }
    const file = await open(join(this.#path, 'segments', nameOf(physical)))
    this.#files.set(physical, file)
    return file
  }
}

class StoreDevice implements StoreFiles {
  readonly #path: string
  readonly #file: FileHandle

  private constructor(path: string, file: FileHandle) {
    this.#path = path
    this.#file = file
  }

  static async open(path: string): Promise<StoreDevice> {
    const file = await guarded(path, () => open(path))
    try {
      await lockShared(file, path)
      return new StoreDevice(path, file)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  readSuperblocks(): Promise<Uint8Array> {
    return guarded(this.#path, () => readAt(this.#file, 0, SUPERBLOCK_REGION_BYTES))
  }

  async listSegments(segmentBytes: number): Promise<number[]> {
    const bytes = await guarded(this.#path, () => sizeOf(this.#file))
    return Array.from(
      { length: Math.max(0, Math.floor((bytes - MIB) / segmentBytes)) },
      (_, physical) => physical,
    )
  }

  readSegment(physical: number, offset: number, bytes: number, segmentBytes: number): Promise<Uint8Array> {
    return guarded(this.#path, () => readAt(this.#file, MIB + physical * segmentBytes + offset, bytes))
  }

  async close(): Promise<void> {
    await this.#file.close()
  }
}

/** The lock of a directory. A store that no process ever opened has no lock file, and none is made: this only reads. */
async function openLock(path: string): Promise<FileHandle | undefined> {
  let lock: FileHandle
  try {
    lock = await open(join(path, 'lock'))
  } catch (error) {
    if (isMissing(error)) return undefined
    throw new StoreIoError(`the lock of the store at ${path} cannot be opened`, { cause: error, path })
  }
  try {
    await lockShared(lock, path)
    return lock
  } catch (error) {
    await lock.close()
    throw error
  }
}

/** The end of a block device is where seeking to its end leads; `stat` says 0. So: halve the range until it is found. */
async function sizeOf(file: FileHandle): Promise<number> {
  const status = await file.stat()
  if (!status.isBlockDevice()) return status.size
  const isInside = async (offset: number): Promise<boolean> => (await readAt(file, offset, 1)).length === 1
  let below = 0
  let above = 1
  while (await isInside(above)) above *= 2
  while (above - below > 1) {
    const middle = below + Math.floor((above - below) / 2)
    if (await isInside(middle)) below = middle
    else above = middle
  }
  return above
}

/** Fewer bytes only where the file ends. */
async function readAt(file: FileHandle, offset: number, bytes: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(bytes)
  let length = 0
  while (length < bytes) {
    const { bytesRead } = await file.read(buffer, length, bytes - length, offset + length)
    if (bytesRead === 0) break
    length += bytesRead
  }
  return buffer.subarray(0, length)
}

function nameOf(physical: number): string {
  return `${physical.toString(16).padStart(8, '0')}.seg`
}

async function guarded<T>(path: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (cause) {
    if (isMissing(cause)) throw new StoreNotFoundError(`there is no store at ${path}`, { cause, path })
    throw new StoreIoError(`the store at ${path} cannot be read`, { cause, path })
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')
}
