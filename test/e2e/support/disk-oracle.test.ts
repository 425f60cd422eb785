/** The oracle is what the crash tests rest on: it must accept what a disk may do, and nothing else. */
import { expect, test } from 'vitest'
import { DiskOracle, type OracleClient, SECTOR_BYTES } from './disk-oracle.js'
import { NbdGoneError } from './nbd-client.js'

const BYTES = 256 * 1024

/** A disk in memory that goes away after some writes; what is under way then is carried out or not. */
class FlakyDisk implements OracleClient {
  readonly bytes = Buffer.alloc(BYTES)
  writesLeft = Infinity
  #torn = 0

  read(offset: number, bytes: number): Promise<Buffer> {
    return Promise.resolve(Buffer.from(this.bytes.subarray(offset, offset + bytes)))
  }

  async write(offset: number, data: Buffer): Promise<void> {
    await Promise.resolve()
    if (this.writesLeft-- <= 0) {
      // A part of it, in whole sectors.
      if (this.#torn++ % 2 === 0) data.copy(this.bytes, offset, 0, SECTOR_BYTES)
      throw new NbdGoneError('gone')
    }
    data.copy(this.bytes, offset)
  }

  writeZeroes(offset: number, bytes: number): Promise<void> {
    return this.write(offset, Buffer.alloc(bytes))
  }

  flush(): Promise<void> {
    return Promise.resolve()
  }
}

async function crashed(seed: number): Promise<{ oracle: DiskOracle; disk: FlakyDisk; before: Buffer }> {
  const oracle = new DiskOracle(BYTES, seed)
  const disk = new FlakyDisk()
  expect(await oracle.write(disk, { count: 300, depth: 8 })).toBe(true)
  const before = Buffer.from(disk.bytes)
  disk.writesLeft = 100
  expect(await oracle.write(disk, { count: 1000, depth: 8 })).toBe(false)
  disk.writesLeft = Infinity
  return { oracle, disk, before }
}

test('writes that were cut off may be there, partly there or not', async () => {
  for (let seed = 1; seed < 20; seed++) {
    const { oracle, disk } = await crashed(seed)
    await oracle.check(disk)
    expect(await oracle.write(disk, { count: 100, depth: 8 })).toBe(true)
    await oracle.check(disk)
  }
})

test('an acknowledged write that is gone is found', async () => {
  const { oracle, disk, before } = await crashed(7)
  before.copy(disk.bytes)
  await expect(oracle.check(disk)).rejects.toThrow(/sector \d+ holds/)
})

test.each([
  ['a changed bit', (bytes: Buffer, at: number) => (bytes[at + 300]! ^= 1)],
  [
    'a sector of another place',
    (bytes: Buffer, at: number) => bytes.copy(bytes, at, at + SECTOR_BYTES, at + 2 * SECTOR_BYTES),
  ],
  ['zeros', (bytes: Buffer, at: number) => bytes.fill(0, at, at + SECTOR_BYTES)],
])('%s is found', async (_what, damage) => {
  const { oracle, disk } = await crashed(9)
  await oracle.check(disk)
  let at = 0
  while (disk.bytes.readUInt32LE(at) === 0) at += SECTOR_BYTES
  damage(disk.bytes, at)
  await expect(oracle.check(disk)).rejects.toThrow(`sector ${at / SECTOR_BYTES} holds`)
})
