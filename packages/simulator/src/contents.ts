/** What clients write: every unit of 512 bytes names its write and its own place, so that no two writes look alike. */

export const UNIT_BYTES = 512
export const BLOCK_BYTES = 4096
export const UNITS_PER_BLOCK = BLOCK_BYTES / UNIT_BYTES

/** The name of a write: client and number. 0 is what was never written, or zeroed. */
export function writeId(client: number, number: number): number {
  return (client + 1) * 2 ** 20 + number
}

export function nameOf(id: number): string {
  if (id === 0) return 'zeros'
  return id < 0 ? 'nothing known' : `${String(Math.floor(id / 2 ** 20) - 1)}/${String(id % 2 ** 20)}`
}

/** The bytes of a write to `count` units from `first` on. */
export function contentOf(id: number, first: number, count: number): Buffer {
  const bytes = Buffer.alloc(count * UNIT_BYTES)
  const pattern = Buffer.alloc(8)
  for (let index = 0; index < count; index++) {
    pattern.writeUInt32LE(id, 0)
    pattern.writeUInt32LE(first + index, 4)
    bytes.fill(pattern, index * UNIT_BYTES, (index + 1) * UNIT_BYTES)
  }
  return bytes
}

/** The writes that units from `first` on are of. @throws of a unit that is none's */
export function writesIn(bytes: Buffer, first: number): number[] {
  const ids: number[] = []
  for (let offset = 0; offset < bytes.length; offset += UNIT_BYTES) {
    const unit = first + offset / UNIT_BYTES
    const id = bytes.readUInt32LE(offset)
    const isWhole =
      bytes.compare(bytes, offset, offset + UNIT_BYTES - 8, offset + 8, offset + UNIT_BYTES) === 0
    if (!isWhole) throw new Error(`unit ${String(unit)} is torn`)
    const place = bytes.readUInt32LE(offset + 4)
    if (place !== (id === 0 ? 0 : unit))
      throw new Error(`unit ${String(unit)} holds what was written to ${String(place)} by ${nameOf(id)}`)
    ids.push(id)
  }
  return ids
}
