/**
 * A volume attached at a host that is not its primary. Goal: real NBD clients cannot tell, but for the end of their
 * connection when the primary's engine dies; and the socket is there when it is served, and only then.
 */
import { once } from 'node:events'
import { existsSync, lstatSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { EngineCluster } from './support/engine-cluster.js'
import { nbdUri } from './support/engine-process.js'
import { NbdClient, NbdGoneError } from './support/nbd-client.js'
import { runTool } from './support/run-tool.js'

const MIB = 1024 * 1024
const TIMEOUT_MS = 60_000

let cluster: EngineCluster
let socket: string

beforeAll(async () => {
  cluster = await EngineCluster.start(2)
  await cluster.createVolume(16 * MIB)
  socket = join(cluster.engine(1).run, 'bridged.nbd')
  await bridge(socket)
}, TIMEOUT_MS)
afterAll(() => cluster.dispose())

async function bridge(path: string, key?: string): Promise<void> {
  const { volume } = cluster
  const asked = { volume, host: cluster.host(1), protocol: 'cloudfs-nbd' } as const
  const given = (await cluster.engine(0).client.call('follow-key', asked)).result.key
  await cluster.engine(1).client.call('bridge', {
    volume,
    socket: path,
    leader: cluster.host(0),
    address: cluster.address(0),
    key: key ?? given,
  })
}

async function qemuIo(uri: string, ...commands: string[]): Promise<void> {
  const words = commands.flatMap((command) => ['-c', command])
  const { stdout } = await runTool('qemu-io', '-f', 'raw', ...words, uri)
  expect(stdout).not.toMatch(/fail|error/i)
}

test('clients of a bridge read and write the volume at its primary', { timeout: TIMEOUT_MS }, async () => {
  expect(statSync(socket).mode & 0o777).toBe(0o660)
  await qemuIo(nbdUri(socket), 'write -P 1 0 8M', 'write -P 2 100 1000', 'flush', 'read -P 2 100 1000')
  const there = nbdUri(await cluster.engine(0).serve(cluster.volume))
  await qemuIo(there, 'read -P 1 4k 8188k', 'read -P 2 100 1000', 'write -P 3 9M 1M')
  await qemuIo(nbdUri(socket), 'read -P 3 9M 1M')
  await cluster.headsAreEqual()
  await runTool(
    'fio',
    '--name=verify',
    '--ioengine=nbd',
    `--uri=${nbdUri(socket)}`,
    '--rw=randwrite',
    '--bsrange=512-256k',
    '--blockalign=512',
    '--iodepth=32',
    '--size=8M',
    '--verify=crc32c',
    '--verify_state_save=0',
  )
})

test(
  'when the primary is killed its clients see the end, and later ones are served once it is back',
  { timeout: TIMEOUT_MS },
  async () => {
    const client = await NbdClient.connect(socket)
    await client.write(0, Buffer.alloc(4096, 7))
    const held = connect(socket)
    await once(held, 'readable')
    const ended = once(held, 'end')
    held.resume()
    await cluster.kill(0)
    await ended
    await expect(client.read(0, 4096)).rejects.toThrow(NbdGoneError)
    // This one comes while the primary is away, and is kept waiting.
    const waiting = NbdClient.connect(socket)
    await cluster.launch(0)
    const again = await waiting
    expect(await again.read(0, 4096)).toEqual(Buffer.alloc(4096, 7))
    again.close()
  },
)

test('a key that is not right, or no ticket, opens nothing', { timeout: TIMEOUT_MS }, async () => {
  const path = join(cluster.engine(1).run, 'wrong.nbd')
  const { volume } = cluster
  const asked = { volume, host: cluster.host(1), protocol: 'cloudfs-records' } as const
  const { key: keyOfRecords } = (await cluster.engine(0).client.call('follow-key', asked)).result
  for (const key of ['00'.repeat(32), keyOfRecords]) {
    await bridge(path, key)
    const client = connect(path)
    client.resume()
    await once(client, 'end')
    client.destroy()
    expect((await cluster.engine(1).client.call('unbridge', { socket: path })).result).toEqual({
      bridged: true,
    })
    expect(existsSync(path)).toBe(false)
  }
  const { stdout } = await runTool(
    'curl',
    '--silent',
    '--include',
    '--http1.1',
    '-H',
    'Connection: Upgrade',
    '-H',
    'Upgrade: cloudfs-nbd',
    `${cluster.url(0)}/nbd?${cluster.volume}`,
  )
  expect(stdout).toMatch(/^HTTP\/1\.1 401 /)
  expect(stdout).toMatch(/WWW-Authenticate: CloudFS nonce="[0-9a-f]{32}"\r\n/)
  expect(stdout).toContain('ERR_TICKET')
})

test(
  'the socket goes with the bridge, comes back after a crash, and is not somebody else’s',
  async () => {
    const { client } = cluster.engine(1)
    await qemuIo(nbdUri(socket), 'write -P 4 0 4k')
    await cluster.kill(1)
    expect(lstatSync(socket).isSocket()).toBe(true)
    await cluster.launch(1)
    await bridge(socket)
    await qemuIo(nbdUri(socket), 'read -P 4 0 4k')
    // Somebody put another file there.
    unlinkSync(socket)
    writeFileSync(socket, 'mine')
    await cluster.engine(1).client.call('unbridge', { socket })
    expect(existsSync(socket)).toBe(true)
    await expect(bridge(socket)).rejects.toMatchObject({ code: 'ERR_ADDRESS_IN_USE' })
    unlinkSync(socket)
    expect((await cluster.engine(1).client.call('unbridge', { socket })).result).toEqual({ bridged: false })
    expect(client).not.toBe(cluster.engine(1).client)
  },
  TIMEOUT_MS,
)
