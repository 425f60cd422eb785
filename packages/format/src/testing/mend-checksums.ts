/** Makes damage pass the checksums, so that tests reach the checks behind them. */
import { crc32c, crc32cWithout } from '../crc32c.js'

/** A copy whose crc holds again, as far as the damaged lengths let one find it. `structure` as in `describe`. */
export function mendChecksums(structure: string, damaged: Uint8Array): Uint8Array {
  const copy = damaged.slice()
  const view = new DataView(copy.buffer)
  if ((structure === 'superblock' || structure === 'segment-header') && copy.length >= 4096) {
    view.setUint32(4092, crc32c(copy.subarray(0, 4092)), true)
  }
  if (structure === 'run') mendRun(copy)
  if (structure === 'batch' && copy.length >= 64) {
    const headerBytes = view.getUint32(4, true)
    const runCount = view.getUint16(36, true)
    for (let index = 0; index < runCount && 72 + 8 * index <= copy.length; index++) {
      const runOffset = view.getUint32(64 + 8 * index, true)
      if (runOffset >= 64 && runOffset <= copy.length) mendRun(copy.subarray(runOffset))
    }
    if (headerBytes >= 64 && headerBytes <= copy.length) {
      view.setUint32(60, crc32cWithout(copy.subarray(0, headerBytes), 60), true)
    }
  }
  return copy
}

function mendRun(bytes: Uint8Array): void {
  if (bytes.length < 128) return
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const runBytes = view.getUint32(4, true)
  if (runBytes >= 128 && runBytes <= bytes.length) {
    view.setUint32(124, crc32cWithout(bytes.subarray(0, runBytes), 124), true)
  }
}
