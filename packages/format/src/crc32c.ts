/**
 * CRC-32C (Castagnoli, reflected, initial value and final xor all ones; RFC 3720, appendix B.4).
 *
 * Written here, for no package fits: the well-kept @aws-crypto/crc32c goes byte by byte (a third of this speed) and
 * brings three packages of its own; fast-crc32c and sse4_crc32 need a compiler and have no release since 2018; and
 * the engine's addon stands above this package. Eight bytes a step ("slicing by 8"), from tables made at start.
 */

const POLYNOMIAL = 0x82f63b78

/** `tables[256 k + b]`: what byte `b` does to the checksum `k` bytes later. */
const tables = makeTables()

/**
 * The checksum of `bytes`.
 *
 * @param seed - the checksum of what came before: `crc32c(b, crc32c(a))` is that of a then b
 */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  let crc = ~seed
  let index = 0
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (const end = bytes.length - 7; index < end; index += 8) {
    const low = crc ^ view.getUint32(index, true)
    const high = view.getUint32(index + 4, true)
    crc =
      at(7, low & 0xff) ^
      at(6, (low >>> 8) & 0xff) ^
      at(5, (low >>> 16) & 0xff) ^
      at(4, low >>> 24) ^
      at(3, high & 0xff) ^
      at(2, (high >>> 8) & 0xff) ^
      at(1, (high >>> 16) & 0xff) ^
      at(0, high >>> 24)
  }
  for (; index < bytes.length; index++) crc = at(0, (crc ^ view.getUint8(index)) & 0xff) ^ (crc >>> 8)
  return ~crc >>> 0
}

const fourZeros = new Uint8Array(4)

/** The checksum of `bytes` with the four at `field` taken as zero: that of a header which holds its own checksum. */
export function crc32cWithout(bytes: Uint8Array, field: number): number {
  const before = crc32c(bytes.subarray(0, field))
  return crc32c(bytes.subarray(field + 4), crc32c(fourZeros, before))
}

function at(table: number, byte: number): number {
  return tables[256 * table + byte] as number
}

function makeTables(): Int32Array {
  const made = new Int32Array(8 * 256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
    made[byte] = crc
  }
  for (let index = 256; index < made.length; index++) {
    const shorter = made[index - 256] as number
    made[index] = (shorter >>> 8) ^ (made[shorter & 0xff] as number)
  }
  return made
}
