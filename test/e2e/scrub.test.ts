/**
 * Rot in the stores of nodes that run. Goal: clients and `cloudfs scrub` have bad blocks repaired from other replicas; where all
 * copies are bad it is EIO, never other bytes, until the block is written anew. Method: bits of the segment files are flipped
 * under three real nodes, at places that the offline reader finds.
 */
import { join } from 'node:path'
import type { VolumeId } from '@cloudfs/interface'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, type Disk } from './support/cluster.js'
import { NbdClient } from './support/nbd-client.js'
import { flipBit, StorePlaces } from './support/store-places.js'

const BLOCK = 4096
const options = { timeout: 120_000 }
const EIO = 5

const cluster = new Cluster()
let disk: Disk
let client: NbdClient

const contentOf = (block: number): Buffer => Buffer.alloc(BLOCK, `block ${String(block)} `)
const storeOf = (index: number): string => join(cluster.node(index).directory, 'store')

/** Nobody writes meanwhile, so the files stand still. */
async function rot(index: number, block: number): Promise<void> {
  const places = await StorePlaces.open(storeOf(index))
  flipBit(storeOf(index), await places.block(disk.volume as VolumeId, block))
}

interface Scrubbed {
  readonly code: number
  readonly corrupt: number
  readonly repaired: number
}

async function scrub(index: number): Promise<Scrubbed> {
  try {
    return { code: 0, ...(JSON.parse(await cluster.at(index, 'scrub', '--json')) as Omit<Scrubbed, 'code'>) }
  } catch (error) {
    const { code, stdout } = error as { code: number; stdout: string }
    return { ...(JSON.parse(stdout) as Omit<Scrubbed, 'code'>), code }
  }
}

beforeAll(async () => {
  await cluster.up(3)
  disk = await cluster.disk('16M', 'disk')
  client = await NbdClient.connect(disk.socket)
  for (let block = 0; block < 8; block++) await client.write(block * BLOCK, contentOf(block))
  await client.flush()
}, 120_000)

afterAll(async () => {
  client.close()
  await cluster.dispose()
}, 120_000)

test('a sound store has nothing to repair', options, async () => {
  expect(await scrub(1)).toMatchObject({
    code: 0,
    corrupt: 0,
    repaired: 0,
    isRunning: false,
    pagesCorrupt: 0,
  })
  expect(await cluster.cloudfs('scrub', '--status', '--json')).toContain('"passes": 1')
})

test(
  'a client reads a block that rotted where it is served, and it is good there from then on',
  options,
  async () => {
    await rot(1, 3)
    expect((await client.read(3 * BLOCK, BLOCK)).equals(contentOf(3))).toBe(true)
    expect(await scrub(1)).toMatchObject({ code: 0, corrupt: 0 })
  },
)

test('a scrub repairs what nobody has read, at any node', options, async () => {
  for (const index of [1, 2, 3]) {
    await rot(index, 3 + index)
    expect(await scrub(index)).toMatchObject({ code: 0, corrupt: 1, repaired: 1 })
    expect(await scrub(index)).toMatchObject({ code: 0, corrupt: 0 })
  }
})

test('where all copies are bad it is EIO, and whole again when it is written', options, async () => {
  for (const index of [1, 2, 3]) await rot(index, 7)
  await expect(client.read(7 * BLOCK, BLOCK)).rejects.toMatchObject({ errno: EIO })
  expect(await scrub(1)).toMatchObject({ code: 1, corrupt: 1, repaired: 0 })
  await client.write(7 * BLOCK, contentOf(7))
  await client.flush()
  expect((await client.read(7 * BLOCK, BLOCK)).equals(contentOf(7))).toBe(true)
})

test('the stores of all nodes are sound behind that', options, async () => {
  // A version shown just before may name the bad block until the next start.
  for (const index of [1, 2, 3]) await cluster.stopNode(index)
  for (const index of [1, 2, 3]) await cluster.startNode(index)
  for (const index of [1, 2, 3]) await cluster.stopNode(index)
  for (const index of [1, 2, 3])
    expect(await cluster.at(index, 'verify', '--store', storeOf(index))).toMatch(/sound$/)
})
