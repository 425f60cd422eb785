/** `cloudfs-engine format`: makes an empty store. */
import { randomBytes } from 'node:crypto'
import { HostId, ID_BYTES, StoreId, UsageError } from '@cloudfs/interface'
import { StoreHandle } from '@cloudfs/native'
import type { FormatOptions } from './options.js'

/** Of a directory's store when no size is given. */
const SIZE_BYTES_DEFAULT = 16 * 1024 ** 3
/** A big file or device has its segments from here on (docs/disk-format.md). */
const FILE_FIRST_SEGMENT = 1024 ** 2
/** Fewer cannot hold a log, a checkpoint and the reserve at once. */
const SEGMENTS_MIN = 12

/** @throws ERR_STORE_EXISTS, ERR_STORE_LOCKED, ERR_STORE_IO, ERR_USAGE */
export async function formatStore(options: FormatOptions): Promise<{ store: StoreId; host: HostId }> {
  const segmentBytes = 2 ** options.segmentLog2
  const sizeBytes = options.sizeBytes ?? SIZE_BYTES_DEFAULT
  const segmentLimit = Math.floor((sizeBytes - (options.file ? FILE_FIRST_SEGMENT : 0)) / segmentBytes)
  if (segmentLimit < SEGMENTS_MIN) {
    throw new UsageError(`a store has room for at least ${SEGMENTS_MIN} segments: see --size, --segment-size`)
  }
  const identity = {
    store: StoreId.fromBytes(randomBytes(ID_BYTES)),
    host: options.host ?? HostId.fromBytes(randomBytes(ID_BYTES)),
  }
  const handle = StoreHandle.create({
    path: options.store,
    overwrite: options.force,
    ...(options.file ? { fileBytes: sizeBytes } : {}),
    params: { segmentLog2: options.segmentLog2, segmentLimit },
  })
  try {
    await handle.format(identity)
    await handle.stop()
  } finally {
    await handle.close()
  }
  return identity
}
