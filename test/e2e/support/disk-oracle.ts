/**
 * Knows what a disk must hold: every sector's acknowledged value, and those that a write not answered yet may have left
 * there. After a crash a sector holds one or the other, never anything else.
 *
 * Sectors are smaller than the store's blocks, so writes in flight side by side in one block are told apart. At most
 * one write to a sector is in flight: what two of them leave is not defined.
 */
import { setImmediate } from 'node:timers/promises'
import { type NbdClient, NbdGoneError } from './nbd-client.js'

/** What the oracle asks of a client. */
export type OracleClient = Pick<NbdClient, 'read' | 'write' | 'writeZeroes' | 'flush'>

export const SECTOR_BYTES = 512
const SECTORS_PER_BLOCK = 8
/** Value of a sector that was never written, or zeroed. */
const ZERO = 0

/** A generator of numbers below `bound`, from a seed. */
export function randomFrom(seed: number): (bound: number) => number {
  let state = seed | 1
  return (bound) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % bound
  }
}

export class DiskOracle {
  readonly #sectors: number
  readonly #random: (bound: number) => number
  /** By sector: the last value acknowledged. */
  readonly #settled: Uint32Array
  /** By sector: the value of the write in flight, or -1. */
  readonly #pending: Float64Array
  #values = 0
  acknowledged = 0

  constructor(bytes: number, seed: number) {
    this.#sectors = bytes / SECTOR_BYTES
    this.#random = randomFrom(seed)
    this.#settled = new Uint32Array(this.#sectors)
    this.#pending = new Float64Array(this.#sectors).fill(-1)
  }

  /**
   * Keeps `depth` random writes in flight until `count` of them have been answered, or until the server goes away.
   *
   * @returns whether the server is still there
   */
  async write(client: OracleClient, { count, depth }: { count: number; depth: number }): Promise<boolean> {
    const goal = this.acknowledged + count
    const lanes = Array.from({ length: depth }, async () => {
      while (this.acknowledged < goal) await this.#writeOnce(client)
    })
    const outcomes = await Promise.allSettled(lanes)
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected' && !(outcome.reason instanceof NbdGoneError)) throw outcome.reason
    }
    return outcomes.every(({ status }) => status === 'fulfilled')
  }

  /** Reads the whole disk. @throws an Error at the first sector that holds what it must not */
  async check(client: OracleClient): Promise<void> {
    const bytesMax = 1024 * 1024
    for (let offset = 0; offset < this.#sectors * SECTOR_BYTES; offset += bytesMax) {
      const bytes = Math.min(bytesMax, this.#sectors * SECTOR_BYTES - offset)
      const data = await client.read(offset, bytes)
      for (let at = 0; at < bytes; at += SECTOR_BYTES) {
        this.#checkSector((offset + at) / SECTOR_BYTES, data.subarray(at, at + SECTOR_BYTES))
      }
    }
  }

  #checkSector(sector: number, data: Buffer): void {
    const settled = this.#settled[sector]!
    const pending = this.#pending[sector]!
    const value = data.readUInt32LE(0)
    const allowed = value === settled || value === pending
    if (!allowed || !data.equals(contents(sector, value))) {
      throw new Error(
        `sector ${sector} holds ${value} (${data.subarray(0, 16).toString('hex')}…), ` +
          `not ${settled}${pending < 0 ? '' : ` or ${pending}`}`,
      )
    }
    // Whatever of a write is there stays: from now on it is what the disk holds.
    this.#settled[sector] = value
    this.#pending[sector] = -1
  }

  async #writeOnce(client: OracleClient): Promise<void> {
    const [start, count] = this.#choose()
    if (count === 0) {
      await setImmediate()
      return
    }
    const kind = this.#random(20)
    const value = kind === 0 ? ZERO : ++this.#values
    for (let sector = start; sector < start + count; sector++) this.#pending[sector] = value
    const fua = this.#random(16) === 0
    const offset = start * SECTOR_BYTES
    if (kind === 0) await client.writeZeroes(offset, count * SECTOR_BYTES, fua)
    else {
      const sectors = Array.from({ length: count }, (_, index) => contents(start + index, value))
      await client.write(offset, Buffer.concat(sectors), fua)
    }
    for (let sector = start; sector < start + count; sector++) {
      this.#settled[sector] = value
      this.#pending[sector] = -1
    }
    this.acknowledged++
    if (kind === 1) await client.flush()
  }

  /** A range that no write in flight touches; of no sectors if there is none at the place tried. */
  #choose(): [start: number, count: number] {
    // Half of them whole blocks, half any sectors; a few large.
    const aligned = this.#random(2) === 0
    const unit = aligned ? SECTORS_PER_BLOCK : 1
    const start = this.#random(this.#sectors / unit) * unit
    const wanted = (1 + this.#random(this.#random(10) === 0 ? 64 : 8)) * unit
    let count = 0
    while (count < wanted && start + count < this.#sectors && this.#pending[start + count] === -1) count++
    return [start, aligned ? count - (count % unit) : count]
  }
}

/** What a write of `value` puts into a sector: no other sector or value has these bytes. */
function contents(sector: number, value: number): Buffer {
  const data = Buffer.alloc(SECTOR_BYTES)
  if (value === ZERO) return data
  data.writeUInt32LE(value, 0)
  data.writeUInt32LE(sector, 4)
  data.writeUInt32LE(Math.imul(value, 0x9e3779b1) >>> 0, 8)
  data.writeUInt32LE(Math.imul(sector + 1, 0x85ebca6b) >>> 0, 12)
  for (let at = 16; at < data.length; at += 16) data.copy(data, at, 0, 16)
  return data
}
