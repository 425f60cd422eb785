/**
 * Three engine processes and a volume of three replicas. Goal: engines find back to each other without anybody's help,
 * clients notice nothing of a follower that dies, and nothing acknowledged is lost with the primary's process. Method:
 * real NBD clients at the primary, `kill -9`, heads compared over HTTP.
 */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { EngineCluster } from './support/engine-cluster.js'
import { EngineHost, nbdUri } from './support/engine-process.js'
import { runTool } from './support/run-tool.js'

const MIB = 1024 * 1024
const TIMEOUT_MS = 120_000
const FIO_BYTES = process.env['CLOUDFS_TEST_LONG'] === undefined ? 8 * MIB : 256 * MIB

let cluster: EngineCluster

beforeEach(async () => {
  cluster = await EngineCluster.start(3, {
    size: process.env['CLOUDFS_TEST_LONG'] === undefined ? '128M' : '1G',
  })
  await cluster.createVolume(Math.max(32 * MIB, FIO_BYTES))
}, TIMEOUT_MS)
afterEach(() => cluster.dispose())

async function qemuIo(...commands: string[]): Promise<string> {
  const uri = nbdUri(await cluster.engine(0).serve(cluster.volume))
  const words = commands.flatMap((command) => ['-c', command])
  const { stdout } = await runTool('qemu-io', '-f', 'raw', ...words, uri)
  // qemu-io ends with 0 whatever became of its commands.
  expect(stdout).not.toMatch(/fail|error/i)
  return stdout
}

async function bytesReceived(index: number): Promise<number> {
  return (await cluster.engine(index).client.call('shell-stats', {})).result.streamBytesReceived
}

test('what a client writes at the primary is at every follower', { timeout: TIMEOUT_MS }, async () => {
  const { volume } = cluster
  await cluster.headsAreEqual()
  const [created] = await cluster.heads()
  expect(created).toBe(`${volume}:${volume}\n`)
  await qemuIo('write -P 1 0 1M', 'write -P 2 1000 5000', 'discard 2M 64k', 'flush')
  await cluster.headsAreEqual()
  expect((await cluster.heads())[0]).not.toBe(created)
  const { result } = await cluster.engine(1).client.call('follows', {})
  expect(result).toMatchObject([{ volume, leader: cluster.host(0), state: 'connected' }])
  const file = join(cluster.engine(1).run, 'follows.json')
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(readFileSync(file, 'utf8')).toContain(volume)
})

test(
  'a follower that is killed under load costs clients nothing, and gets what it missed and no more',
  { timeout: TIMEOUT_MS },
  async () => {
    await qemuIo('write -P 1 0 8M', 'flush')
    await cluster.headsAreEqual()
    const uri = nbdUri(await cluster.engine(0).serve(cluster.volume))
    const sentBefore = (await cluster.engine(0).client.call('shell-stats', {})).result.streamBytesSent
    const fio = runTool(
      'fio',
      '--name=verify',
      '--ioengine=nbd',
      `--uri=${uri}`,
      '--rw=randwrite',
      '--bs=4k',
      '--iodepth=16',
      `--size=${FIO_BYTES}`,
      '--verify=crc32c',
      '--verify_state_save=0',
    )
    await vi.waitFor(
      async () => {
        const { result } = await cluster.engine(0).client.call('shell-stats', {})
        expect(result.streamBytesSent - sentBefore).toBeGreaterThan(FIO_BYTES / 4)
      },
      { timeout: 30_000, interval: 5 },
    )
    await cluster.kill(2)
    await fio
    await cluster.launch(2)
    await cluster.headsAreEqual()
    // The first 8 MiB it had, and an eighth of fio's or more; what it missed comes with its headers, once.
    const received = await bytesReceived(2)
    expect(received).toBeGreaterThan(0)
    expect(received).toBeLessThan(FIO_BYTES)
    const before = received
    await qemuIo('write -P 3 4M 64k', 'flush')
    await cluster.headsAreEqual()
    expect((await bytesReceived(2)) - before).toBeGreaterThan(65536)
  },
)

test('a primary whose process is killed has all it acknowledged', { timeout: TIMEOUT_MS }, async () => {
  await qemuIo('write -P 5 0 4M', 'write -P 6 100 1000', 'write -P 7 5M 12k')
  await cluster.kill(0)
  await cluster.launch(0)
  await qemuIo('read -P 5 4k 4092k', 'read -P 6 100 1000', 'read -P 7 5M 12k', 'write -P 8 6M 4k')
  await cluster.headsAreEqual()
})

test('all engines killed at once come back by themselves', { timeout: TIMEOUT_MS }, async () => {
  await qemuIo('write -P 5 0 4M')
  await Promise.all([0, 1, 2].map((index) => cluster.kill(index)))
  await Promise.all([0, 1, 2].map((index) => cluster.launch(index)))
  await qemuIo('read -P 5 0 4M', 'write -P 6 0 4k')
  await cluster.headsAreEqual()
})

test('without the right key there is no stream', { timeout: TIMEOUT_MS }, async () => {
  const { volume } = cluster
  const follower = cluster.engine(1).client
  const key = '00'.repeat(32)
  const follow = { volume, leader: cluster.host(0), address: cluster.address(0) }
  await follower.call('follow', { ...follow, key })
  await vi.waitFor(
    async () => {
      const { result } = await follower.call('follows', {})
      expect(result).toMatchObject([{ state: 'refused', error: { code: 'ERR_TICKET' } }])
    },
    { timeout: 10_000 },
  )
  await qemuIo('write -P 1 0 4k')
  // The right one mends it.
  await cluster.follow(1)
  await cluster.headsAreEqual()
  expect((await follower.call('unfollow', { volume })).result).toEqual({ followed: true })
  expect((await follower.call('follows', {})).result).toEqual([])
  await qemuIo('write -P 2 0 4k')
  await follower.call('drop', { volume })
})

test('why a stream is refused once it stands is told, and it is not called connected', async () => {
  const { volume } = cluster
  const stranger = new EngineHost()
  try {
    const { host } = await stranger.format({ size: '128M' })
    await stranger.start()
    const asked = { volume, host, protocol: 'cloudfs-records' } as const
    const { key } = (await cluster.engine(0).client.call('follow-key', asked)).result
    await stranger.client.call('follow', {
      volume,
      leader: cluster.host(0),
      address: cluster.address(0),
      key,
    })
    const ends = () => stranger.events.filter(({ event }) => event === 'stream-ended')
    await vi.waitFor(
      () => {
        expect(ends().length).toBeGreaterThan(2)
      },
      { timeout: 10_000 },
    )
    const error = {
      code: 'ERR_NOT_MEMBER',
      message: "this host and store are not in the volume's view",
    }
    expect(ends().map(({ detail }) => detail)).toEqual(
      ends().map(() => expect.objectContaining({ ...error, volume, role: 'follower' }) as unknown),
    )
    expect((await stranger.client.call('follows', {})).result).toMatchObject([
      { volume, state: 'refused', error },
    ])
  } finally {
    await stranger.dispose()
  }
})
