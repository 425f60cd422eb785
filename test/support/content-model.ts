/**
 * What a client of a volume may see: for each unit of 512 bytes the writes that may be its content, from when they were
 * issued to when they were acknowledged, and whether a flush covers them.
 */
export const UNIT_BYTES = 512

interface Value {
  readonly id: number
  readonly issued: number
  acknowledged: number
  isDurable: boolean
}

export class ContentModel {
  readonly #units: Value[][]

  constructor(unitCount: number) {
    this.#units = Array.from({ length: unitCount }, () => [
      { id: 0, issued: -1, acknowledged: -1, isDurable: true },
    ])
  }

  /** A write of `id` (0: zeros) to `count` units from `first` on goes out. @returns what to call when it is answered */
  issue(id: number, first: number, count: number, now: number): (now: number, isDurable: boolean) => void {
    const value: Value = { id, issued: now, acknowledged: Infinity, isDurable: false }
    for (let unit = first; unit < first + count; unit++) this.#units[unit]?.push(value)
    return (when, isDurable) => {
      value.acknowledged = when
      value.isDurable = isDurable
    }
  }

  /** All that was acknowledged before `when` survives power cuts of every host. */
  flush(when: number): void {
    for (const values of this.#units)
      for (const value of values) if (value.acknowledged < when) value.isDurable = true
  }

  /** What is wrong with the bytes that a read, issued at `issued`, gave; undefined = nothing. */
  fault(bytes: Buffer, firstUnit: number, issued: number): string | undefined {
    for (let offset = 0; offset < bytes.length; offset += UNIT_BYTES) {
      const unit = bytes.subarray(offset, offset + UNIT_BYTES)
      const id = unit.readUInt32LE()
      const index = firstUnit + offset / UNIT_BYTES
      for (let at = 0; at < UNIT_BYTES; at += 4)
        if (unit.readUInt32LE(at) !== id) return `unit ${String(index)} is torn`
      const values = this.#units[index] ?? []
      const isAllowed = values.some(
        (value) =>
          value.id === id &&
          !values.some((later) => later.issued > value.acknowledged && later.acknowledged < issued),
      )
      if (!isAllowed)
        return `unit ${String(index)} holds ${String(id)}, of ${values
          .map((one) => `${String(one.id)}[${String(one.issued)},${String(one.acknowledged)}]`)
          .join(' ')}`
    }
    return undefined
  }
}

/** The bytes of a write. */
export function contentOf(id: number, units: number): Buffer {
  const bytes = Buffer.alloc(units * UNIT_BYTES)
  for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(id, at)
  return bytes
}
