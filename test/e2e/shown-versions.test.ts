/**
 * The original's way to branch, ``cloudfs branch `cat ID.info` ``, while the disk is written as fast as it goes. Method: one
 * writer counts round and round over the first blocks, so that a state of the disk is right if and only if its blocks are
 * those of one moment; fio overwrites the rest.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { NodeClient } from '@cloudfs/http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, type Disk, IS_LONG } from './support/cluster.js'
import { NbdClient } from './support/nbd-client.js'

const BRANCHES = IS_LONG ? 20 : 8
const BLOCK = 4096
const COUNTED_BLOCKS = 64
/** The versions looked at besides are a few hundred milliseconds old. */
const AGE_MS = 300
const cluster = new Cluster()
let disk: Disk
let client: NodeClient

beforeAll(async () => {
  await cluster.up(3, '1G')
  disk = await cluster.disk('8M', 'disk')
  client = new NodeClient({ url: cluster.first.url })
}, 120_000)

afterAll(async () => {
  await cluster.dispose()
}, 120_000)

const infoPath = (): string => join(cluster.first.directory, 'run', `${disk.volume}.info`)
const shown = (): string => readFileSync(infoPath(), 'utf8').trim()

/** Writes until it is told to stop. @returns how many it wrote */
async function count(signal: AbortSignal): Promise<number> {
  const writer = await NbdClient.connect(disk.socket)
  let last = 0
  while (!signal.aborted) {
    const block = Buffer.alloc(BLOCK, ++last % 251)
    block.writeUInt32LE(last, 0)
    await writer.write((last % COUNTED_BLOCKS) * BLOCK, block)
  }
  writer.close()
  return last
}

async function contentOf(volume: string): Promise<Buffer> {
  const { socket } = await client.call('attach', { body: { volume } })
  const reader = await NbdClient.connect(socket)
  const content = await reader.read(0, reader.sizeBytes)
  reader.close()
  return content
}

/** The moment that the counted blocks are of. */
function momentOf(content: Buffer): number {
  const counts = Array.from({ length: COUNTED_BLOCKS }, (_, index) => content.readUInt32LE(index * BLOCK))
  const last = Math.max(...counts)
  for (const [index, found] of counts.entries()) {
    const behind = (((last - index) % COUNTED_BLOCKS) + COUNTED_BLOCKS) % COUNTED_BLOCKS
    expect(found, `block ${String(index)} at ${String(last)}`).toBe(Math.max(0, last - behind))
    if (found > 0) expect(content[(index + 1) * BLOCK - 1]).toBe(found % 251)
  }
  return last
}

const digest = (content: Buffer): string => createHash('sha256').update(content).digest('hex')

test(
  'cloudfs branch `cat ID.info` succeeds each time while the disk is written, and each branch is one moment of it',
  { timeout: 120_000 },
  async () => {
    const stop = new AbortController()
    const counted = count(stop.signal)
    const fio = cluster.start(
      `fio --name=load --ioengine=nbd --uri='${disk.uri}' --rw=randwrite --bs=4k --iodepth=16 ` +
        '--offset=1M --size=7M --time_based --runtime=600',
    )
    const branches: { volume: string; content: Buffer; moment: number }[] = []
    const take = async (volume: string): Promise<void> => {
      const content = await contentOf(volume)
      branches.push({ volume, content, moment: momentOf(content) })
    }
    await take(await cluster.shell(`cloudfs branch $(cat '${infoPath()}')`))
    for (let each = 1; each < BRANCHES; ++each) {
      const version = shown()
      if (each % 4 === 0) await new Promise((resolve) => setTimeout(resolve, AGE_MS))
      await take((await client.call('branch', { body: { from: version } })).volume)
    }
    // Each of them is later than the one before.
    const moments = branches.map(({ moment }) => moment)
    expect(moments).toEqual(moments.toSorted((a, b) => a - b))
    expect(new Set(moments).size).toBe(BRANCHES)
    stop.abort()
    fio.kill('SIGTERM')
    expect(moments.at(-1)).toBeLessThanOrEqual(await counted)
    const again = IS_LONG ? branches : branches.filter((_, index) => index % 5 === 0)
    for (const { volume, content } of again) expect(digest(await contentOf(volume))).toBe(digest(content))
    // The replicas of the last one hold what it holds.
    await cluster.equalHeads(branches.at(-1)?.volume ?? '')
  },
)

test(
  'a version shown long ago is refused, and the answer names what to do',
  { timeout: 60_000 },
  async () => {
    await expect(cluster.cloudfs('branch', 'ab'.repeat(20))).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/ERR_UNKNOWN_VERSION: .*`cloudfs branch VOLUME`/),
    })
  },
)
