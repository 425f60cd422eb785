/** A volume in a stopped node's store becomes an image file: read by the tools' own codec, without an engine. */
import { open, rename, rm } from 'node:fs/promises'
import { findVersion, openStore, readVersion } from '@cloudfs/format'
import { InterruptedError } from '../errors.js'
import { openStoreFiles } from '../store-files.js'
import type { ExportOptions } from './export-volume.js'
import { qemuImg } from './qemu-img.js'
import type { Transfer } from './transfer.js'

/** @throws {StoreLockedError} a node has the store open */
export async function exportFromStore(
  store: string,
  { from, file, format }: ExportOptions,
  { signal, progress }: Transfer,
): Promise<void> {
  const part = `${file}.part`
  const raw = format === 'raw' ? part : `${file}.raw.part`
  const files = await openStoreFiles(store)
  try {
    const offline = await openStore(files)
    const version = findVersion(offline, from)
    const totalBytes = Number(version.sizeBytes)
    const target = await open(raw, 'w')
    try {
      await target.truncate(totalBytes)
      for await (const { offset, bytes, data } of readVersion(offline, version)) {
        if (signal.aborted) throw new InterruptedError('interrupted')
        // What reads as zeros stays a hole.
        if (data !== undefined) await writeAll(target, data, offset)
        progress(offset + bytes, totalBytes)
      }
      await target.sync()
    } finally {
      await target.close()
    }
    if (raw !== part) await qemuImg(['convert', '-f', 'raw', '-O', format, raw, part], { signal })
    await rename(part, file)
  } finally {
    await files.close()
    await rm(part, { force: true })
    await rm(raw, { force: true })
  }
}

async function writeAll(
  target: Awaited<ReturnType<typeof open>>,
  data: Uint8Array,
  offset: number,
): Promise<void> {
  for (let done = 0; done < data.length;) {
    done += (await target.write(data, done, data.length - done, offset + done)).bytesWritten
  }
}
