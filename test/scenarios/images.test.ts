/**
 * A file system of real files goes onto a disk as an image, and comes back byte for byte: through NBD, from each replica, and
 * out of a stopped node's store.
 */
import { rmSync, statSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, IS_LONG, REPLICAS } from '../e2e/support/cluster.js'
import { checkExt4, makeExt4 } from '../e2e/support/ext4-image.js'
import { runTool } from '../e2e/support/run-tool.js'

const MIB = 1024 * 1024
const repository = new URL('../..', import.meta.url).pathname
/** Real files of all sizes, at hand wherever the tests run: some tens of MiB, or some hundred. */
const FILES = IS_LONG ? `${repository}node_modules` : `${repository}node_modules/typescript`
const IMAGE_BYTES = (IS_LONG ? 768 : 96) * MIB
const STORE_SIZE = IS_LONG ? '2G' : '640M'

let cluster: Cluster
let image: string
let volume: string

beforeAll(async () => {
  cluster = new Cluster()
  image = cluster.path('image.raw')
  await makeExt4(image, IMAGE_BYTES, FILES)
  await cluster.up(REPLICAS, STORE_SIZE)
}, 300_000)
afterAll(() => cluster.dispose(), 120_000)

test(
  'the image is converted onto the URI, compares equal, and all replicas are at one version',
  {
    timeout: 300_000,
  },
  async () => {
    expect(dataBytes(image)).toBeGreaterThan((IS_LONG ? 150 : 15) * MIB)
    const disk = await cluster.disk(String(IMAGE_BYTES), 'files')
    volume = disk.volume
    await runTool('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', image, disk.uri)
    await runTool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', image, disk.uri)
    await cluster.equalHeads(volume)
  },
)

test('an export is byte-identical, sparse, and a sound file system', { timeout: 300_000 }, async () => {
  const exported = cluster.path('exported.raw')
  await cluster.cloudfs('export', 'files', exported)
  await runTool('cmp', image, exported)
  expect(dataBytes(exported)).toBeLessThan(dataBytes(image) + 4 * MIB)
  await checkExt4(exported)
})

test('so is an export from the store of each node, stopped', { timeout: 300_000 }, async () => {
  await cluster.equalHeads(volume)
  for (const { index } of cluster.nodes) await cluster.stopNode(index)
  for (const { index, directory } of cluster.nodes.slice(0, REPLICAS)) {
    const exported = cluster.path(`node${String(index)}.raw`)
    await cluster.cloudfs('export', 'files', exported, '--store', `${directory}/store`)
    await runTool('cmp', image, exported)
    rmSync(exported)
  }
})

function dataBytes(path: string): number {
  return statSync(path).blocks * 512
}
