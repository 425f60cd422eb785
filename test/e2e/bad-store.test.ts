/**
 * Stores that are damaged, too new, or somebody else's: each is refused with its code, or served with what is right in it. A
 * byte that changed anywhere is never read as data.
 */
import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32c, SUPERBLOCK_BYTES } from '@cloudfs/format'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { randomFrom } from './support/disk-oracle.js'
import { EngineHost } from './support/engine-process.js'
import { NbdClient } from './support/nbd-client.js'
import { runTool } from './support/run-tool.js'

const CLOUDFS = new URL('../../packages/cli/bin/cloudfs.js', import.meta.url).pathname
const BLOCK = 4096
const BLOCKS = 64
const FLIPS = process.env['CLOUDFS_TEST_LONG'] === '1' ? 400 : 8
const options = { timeout: 60_000 + FLIPS * 10_000 }
/** Of a little-endian u32, in a superblock. */
const VERSION_OFFSET = 8

let host: EngineHost
let other: EngineHost
beforeEach(() => {
  host = new EngineHost()
  other = new EngineHost()
})
afterEach(async () => {
  await other.dispose()
  await host.dispose()
})

const blockOf = (index: number): Buffer => Buffer.alloc(BLOCK, `block ${String(index)} `)

/** A small stopped store with one volume, in which every block is its own. @returns its directory */
async function makeStore(): Promise<{ path: string; volume: string }> {
  const { path } = await host.format({ size: '4M', segmentSize: '64K' })
  await host.start()
  const volume = await host.createVolume(BLOCKS * BLOCK)
  const client = await NbdClient.connect(await host.serve(volume))
  for (let index = 0; index < BLOCKS; index++) await client.write(index * BLOCK, blockOf(index))
  await client.flush()
  client.close()
  await host.end()
  return { path, volume }
}

async function stateOfStore(): Promise<{ state: string; error?: { code: string } }> {
  const [status] = (await host.client.call('stores', {})).result
  if (status === undefined) throw new Error('the engine has no store')
  return status
}

/** Changes both copies of the superblock and mends their checksums. */
function changeSuperblocks(path: string, change: (copy: Buffer) => void): void {
  const file = join(path, 'superblock')
  const bytes = readFileSync(file)
  for (let at = 0; at + SUPERBLOCK_BYTES <= bytes.length; at += SUPERBLOCK_BYTES) {
    const copy = bytes.subarray(at, at + SUPERBLOCK_BYTES)
    change(copy)
    copy.writeUInt32LE(crc32c(copy.subarray(0, -4)), SUPERBLOCK_BYTES - 4)
  }
  writeFileSync(file, bytes)
}

test('a store of a later format is refused and left as it is; verify says so too', options, async () => {
  const { path } = await makeStore()
  changeSuperblocks(path, (copy) => copy.writeUInt32LE(2, VERSION_OFFSET))
  const before = readFileSync(join(path, 'superblock'))
  await expect(host.start()).rejects.toThrow('ended with 1')
  expect(host.log).toContain('ERR_STORE_VERSION')
  expect(readFileSync(join(path, 'superblock'))).toEqual(before)
  await expect(runTool(process.execPath, CLOUDFS, 'verify', '--store', path)).rejects.toThrow(
    'ERR_STORE_VERSION',
  )
})

test('a store that an engine has open is refused by the next, which harms nothing', options, async () => {
  const { path, volume } = await makeStore()
  await host.start()
  await expect(other.start({ stores: [path] })).rejects.toThrow('ERR_STORE_LOCKED')
  const client = await NbdClient.connect(await host.serve(volume as never))
  expect(await client.read(0, BLOCK)).toEqual(blockOf(0))
  client.close()
})

test('a store without one copy of its superblock is whole; without both it is refused', options, async () => {
  const { path, volume } = await makeStore()
  const file = join(path, 'superblock')
  for (const copy of [0, 1]) {
    const bytes = readFileSync(file)
    bytes.fill(0x55, copy * SUPERBLOCK_BYTES + 100, copy * SUPERBLOCK_BYTES + 200)
    writeFileSync(file, bytes)
    await host.start()
    const client = await NbdClient.connect(await host.serve(volume as never))
    expect(await client.read(BLOCK, BLOCK)).toEqual(blockOf(1))
    client.close()
    await host.end()
  }
  writeFileSync(file, Buffer.alloc(2 * SUPERBLOCK_BYTES, 0x55))
  await expect(host.start()).rejects.toThrow('ERR_STORE_CORRUPT')
})

test(
  'wherever a byte of a stopped store changes, it is refused with a code, or each block reads right or as an error',
  options,
  async () => {
    const seed = Number(process.env['CLOUDFS_TEST_SEED'] ?? Date.now() % 2 ** 31)
    console.log(`CLOUDFS_TEST_SEED=${String(seed)}`)
    const random = randomFrom(seed)
    const { path, volume } = await makeStore()
    const sound = host.path('sound')
    cpSync(path, sound, { recursive: true })
    const files = ['superblock', ...readdirSync(join(path, 'segments')).map((name) => join('segments', name))]
    // Only what was ever written can matter.
    const used = files.filter((name) => readFileSync(join(path, name)).some((byte) => byte !== 0))
    let refused = 0
    let errors = 0
    for (let round = 0; round < FLIPS; round++) {
      rmSync(path, { recursive: true })
      cpSync(sound, path, { recursive: true })
      const name = used[random(used.length)] ?? ''
      const at = random(statSync(join(path, name)).size)
      const bytes = readFileSync(join(path, name))
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8))
      writeFileSync(join(path, name), bytes)
      const where = `round ${String(round)}: ${name} at ${String(at)}`

      await host.start()
      const { state, error } = await stateOfStore()
      if (state === 'failed') {
        expect(error?.code, where).toMatch(/^ERR_[A-Z_]+$/)
        refused++
      } else {
        const client = await NbdClient.connect(await host.serve(volume as never))
        for (let index = 0; index < BLOCKS; index++) {
          const read = await client.read(index * BLOCK, BLOCK).catch((failure: unknown) => failure)
          if (Buffer.isBuffer(read))
            expect(read.equals(blockOf(index)), `${where}, block ${String(index)}`).toBe(true)
          else {
            expect(read, `${where}, block ${String(index)}`).toMatchObject({ errno: 5 })
            errors++
          }
        }
        client.close()
      }
      await host.end('SIGKILL')
    }
    console.log(`${String(FLIPS)} flips: ${String(refused)} refused, ${String(errors)} blocks read as errors`)
  },
)
