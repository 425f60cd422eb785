/**
 * What is seen of an attached volume in the run directory: `ID` (the socket, which the engine makes), `ID.info` (the
 * version it is at) and `ID.secret` (for root alone).
 */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { VersionId, VolumeId } from '@cloudfs/interface'

const SECRET_BYTES = 32

export class RunFiles {
  readonly #directory: string
  /** The newest version of each volume, and whether it is being written: never two writes of one file at once. */
  readonly #versions = new Map<VolumeId, { version: VersionId; isWriting: boolean; written?: VersionId }>()

  constructor(directory: string) {
    this.#directory = directory
  }

  socketOf(volume: VolumeId): string {
    return join(this.#directory, volume)
  }

  /** Makes the files of a volume that is being attached; a secret that is there stays, for a VM may know it. */
  async add(volume: VolumeId, version: VersionId): Promise<void> {
    if (!this.#versions.has(volume)) {
      await mkdir(this.#directory, { recursive: true })
      const secret = `${this.socketOf(volume)}.secret`
      if (!existsSync(secret)) await replace(secret, `${randomBytes(SECRET_BYTES).toString('hex')}\n`, 0o600)
      this.#versions.set(volume, { version, isWriting: false })
    }
    await this.update(volume, version)
  }

  /**
   * The volume is at another version. The engine says so at most every 50 ms and once writes pause, which makes the file
   * as fresh as that; versions that pass while it is being written are left out.
   */
  async update(volume: VolumeId, version: VersionId): Promise<void> {
    const entry = this.#versions.get(volume)
    if (entry === undefined) return
    entry.version = version
    if (entry.isWriting) return
    entry.isWriting = true
    try {
      while (entry.written !== entry.version && this.#versions.get(volume) === entry) {
        const next = entry.version
        await replace(`${this.socketOf(volume)}.info`, `${next}\n`, 0o644)
        entry.written = next
      }
    } finally {
      entry.isWriting = false
    }
  }

  async remove(volume: VolumeId): Promise<void> {
    this.#versions.delete(volume)
    await rm(`${this.socketOf(volume)}.info`, { force: true })
    await rm(`${this.socketOf(volume)}.secret`, { force: true })
  }
}

/** Readers see the old content or the new one, whole. No sync: the files mean nothing after a power cut. */
async function replace(path: string, text: string, mode: number): Promise<void> {
  const next = `${path}.new`
  await rm(next, { force: true })
  const file = await open(next, 'wx', mode)
  try {
    await file.writeFile(text)
  } finally {
    await file.close()
  }
  await rename(next, path)
}
