/**
 * Each command of the original CloudFS README, in its new form (docs/heritage.md): replicators are started by hand and find
 * each other; disks with fewer and fewer replicas appear in the run directory; heads are equal at revision 0, and after a
 * write; a branch begins where `cat ID.info` says.
 */
import { readFileSync, statSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { HandmadeCluster } from '../e2e/support/handmade-cluster.js'
import { REPLICAS } from '../e2e/support/cluster.js'
import { nbdUri } from '../e2e/support/engine-process.js'
import { runTool } from '../e2e/support/run-tool.js'

const options = { timeout: 60_000 }
/** All that replicas have to tell each other takes a second. */
const SOON = { timeout: 20_000, interval: 50 }
const HOST_IDS = ['1', '2', '3'].map((digit) => digit.repeat(40))

let cluster: HandmadeCluster
/** The disk with the most replicas. */
let disk = ''

beforeAll(async () => {
  cluster = new HandmadeCluster()
  // replicator HOST-ID [PEER…]: the first is alone, the others are told of it.
  await cluster.replicator(HOST_IDS[0] ?? '')
  const first = `127.0.0.1:${String(cluster.nodes[0]?.httpPort)}`
  for (const id of HOST_IDS.slice(1)) await cluster.replicator(id, first)
}, 120_000)
afterAll(() => cluster.dispose(), 60_000)

/** `GET :8090/heads` of a node: its lines. */
async function heads(index: number): Promise<string[]> {
  const text = await cluster.shell(
    `curl -sf http://127.0.0.1:${String(cluster.nodes[index]?.enginePort)}/heads`,
  )
  return text.split('\n').filter((line) => line !== '')
}

/** What the nodes that keep a volume say of it. */
async function headsOf(volume: string): Promise<string[]> {
  const all = await Promise.all(cluster.nodes.map((_, index) => heads(index)))
  return all.flat().filter((line) => line.startsWith(`${volume}:`))
}

async function info(volume: string): Promise<string> {
  return cluster.shell(`cat ${cluster.run(0)}/${volume}.info`)
}

test('replicators have the ids they were given, and know each other', options, async () => {
  for (const [index, { httpPort }] of cluster.nodes.entries()) {
    expect(await cluster.shell(`curl -sf http://127.0.0.1:${String(httpPort)}/id`)).toContain(HOST_IDS[index])
    await expect
      .poll(
        async () =>
          (await cluster.shell(`curl -sf http://127.0.0.1:${String(httpPort)}/peers`)).split('\n').length,
      )
      .toBe(HOST_IDS.length - 1)
  }
})

test('newdisk makes disks of as many replicas as it is told; all are at revision 0', options, async () => {
  for (let count = REPLICAS; count >= 1; count--) {
    const volume = await cluster.shell(`cloudfs newdisk ${String(count)} --size 64M`)
    if (disk === '') disk = volume
    // Revision 0 is the id itself.
    await expect.poll(() => headsOf(volume), SOON).toEqual(Array(count).fill(`${volume}:${volume}`))
  }
})

test('a disk appears in the run directory, and its secret is its owner’s alone', options, async () => {
  await cluster.shell(`cloudfs attach ${disk}`)
  const path = `${cluster.run(0)}/${disk}`
  expect(statSync(path).isSocket()).toBe(true)
  // Who has it attached is part of its history.
  await expect
    .poll(async () => {
      const versions = (await headsOf(disk)).map((line) => line.split(':')[1])
      return [versions.length, new Set([...versions, await info(disk)]).size]
    }, SOON)
    .toEqual([REPLICAS, 1])
  expect(await info(disk)).not.toBe(disk)
  expect(statSync(`${path}.secret`).mode & 0o777).toBe(0o600)
  expect(await cluster.shell(`cat ${path}.secret`)).toMatch(/^[0-9a-f]{64}$/)
})

test('after a write the heads are others, and equal', options, async () => {
  const uri = nbdUri(`${cluster.run(0)}/${disk}`)
  const before = await info(disk)
  await runTool('qemu-io', '-f', 'raw', '-c', 'write -P 0x41 0 1M', '-c', 'flush', uri)
  await expect
    .poll(async () => {
      const lines = await headsOf(disk)
      const isMoved = lines.every((line) => line !== `${disk}:${before}`)
      return [lines.length, new Set(lines).size, isMoved]
    }, SOON)
    .toEqual([REPLICAS, 1, true])
  const [line = ''] = await headsOf(disk)
  await expect.poll(() => info(disk), SOON).toBe(line.split(':')[1])
  expect(
    Number(
      await cluster.shell(`curl -sf "http://127.0.0.1:${String(cluster.nodes[0]?.enginePort)}/lsn?${disk}"`),
    ),
  ).toBeGreaterThan(1)
})

test('curl /stream is the delta: what was written since revision 0, and nothing else', options, async () => {
  const url = `http://127.0.0.1:${String(cluster.nodes[0]?.enginePort)}/stream?${disk}&1&until=head`
  await cluster.shell(`curl -sf "${url}" > ${cluster.directory}/delta`)
  const delta = readFileSync(`${cluster.directory}/delta`)
  expect(delta.includes(Buffer.alloc(64 * 1024, 0x41))).toBe(true)
  expect(delta.length).toBeGreaterThan(1024 ** 2)
  expect(delta.length).toBeLessThan(1.04 * 1024 ** 2)
  await cluster.shell(`cloudfs stream ${disk} --from 1 --until-head --output ${cluster.directory}/same`)
  expect(readFileSync(`${cluster.directory}/same`)).toEqual(delta)
})

test('cloudfs branch `cat ID.info` is a writable disk with the old content', options, async () => {
  const before = await headsOf(disk)
  const branch = await cluster.shell(`cloudfs branch \`cat ${cluster.run(0)}/${disk}.info\``)
  expect(branch).not.toBe(disk)
  await cluster.shell(`cloudfs attach ${branch}`)
  const uri = nbdUri(`${cluster.run(0)}/${branch}`)
  const commands = ['read -P 0x41 0 1M', 'write -P 0x42 0 64k', 'read -P 0x41 64k 64k']
  const { stdout } = await runTool('qemu-io', '-f', 'raw', ...commands.flatMap((each) => ['-c', each]), uri)
  expect(stdout).not.toMatch(/fail/i)
  expect(await headsOf(disk)).toEqual(before)
  const own = nbdUri(`${cluster.run(0)}/${disk}`)
  await runTool('qemu-io', '-f', 'raw', '-c', 'read -P 0x41 0 1M', own)
})

test('deletedisk takes a disk away that is not attached, everywhere', options, async () => {
  await cluster.shell(`cloudfs detach ${disk}`)
  await cluster.shell(`cloudfs deletedisk ${disk}`)
  await expect.poll(() => headsOf(disk), SOON).toEqual([])
})
