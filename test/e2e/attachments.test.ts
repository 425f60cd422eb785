/**
 * One disk, attached wherever it is wanted: for writing at one host at a time, over the whole cluster, whether the host is
 * the primary or not, and again at the same socket after either process was killed.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, PATIENCE } from './support/cluster.js'
import { DiskOracle } from './support/disk-oracle.js'
import { NbdClient } from './support/nbd-client.js'
import { Nodes, read, write } from './support/nodes.js'

const options = { timeout: 60_000 }
const MIB = 1024 * 1024
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
const cluster = new Cluster()
let nodes: Nodes
let volume: string
/** Of two replicas: the primary, the other, and a host that holds none. */
let primary: number
let replica: number
let bare: number

beforeAll(async () => {
  await cluster.up(3)
  nodes = await Nodes.of(cluster)
  volume = await nodes.create(1, 'disk', 2, 64 * MIB)
}, 120_000)

afterAll(async () => {
  await cluster.dispose()
}, 120_000)

const infoAt = (index: number): string =>
  readFileSync(join(cluster.node(index).directory, 'run', `${volume}.info`), 'utf8').trim()

test(
  'each host in turn has the disk for itself; others are refused and told who has it',
  options,
  async () => {
    await nodes.isWhole('disk', 1)
    const { replicas } = await nodes.find(1, 'disk')
    const at = (isWanted: (replica: (typeof replicas)[number]) => boolean): number =>
      nodes.indexOf(replicas.find(isWanted)?.host ?? '')
    primary = at(({ isPrimary }) => isPrimary)
    replica = at(({ isPrimary }) => !isPrimary)
    bare = 6 - primary - replica
    for (const index of [1, 2, 3]) {
      const attachment = await nodes.attach(index, 'disk')
      expect(await nodes.attach(index, 'disk')).toEqual(attachment)
      await write(attachment.socket, index)
      expect(await read(attachment.socket)).toBe(index)
      const other = (index % 3) + 1
      await expect(nodes.attach(other, 'disk')).rejects.toThrow(
        new RegExp(`ERR_VOLUME_ATTACHED.*attached at host ${nodes.host(index)}`),
      )
      await expect(nodes.ask(other, 'volumes/disk', undefined, 'DELETE')).rejects.toThrow(
        /ERR_VOLUME_ATTACHED/,
      )
      expect((await nodes.find(other, 'disk')).attachments.map(({ host }) => host)).toEqual([
        nodes.host(index),
      ])
      await nodes.detach(index, 'disk')
      await expect(nodes.detach(index, 'disk')).rejects.toThrow(/ERR_NOT_ATTACHED/)
      expect(await nodes.attached(index)).toEqual([])
    }
  },
)

test(
  'hosts share it once all of them do, and one has it for itself again, without letting a client go',
  options,
  async () => {
    const { socket } = await nodes.attach(1, 'disk')
    const client = await NbdClient.connect(socket)
    await expect(nodes.attach(2, 'disk', { isShared: true })).rejects.toThrow(/ERR_VOLUME_ATTACHED/)
    expect(await nodes.attach(1, 'disk', { isShared: true })).toMatchObject({ socket, isShared: true })
    const others = [2, 3].map(async (index) => (await nodes.attach(index, 'disk', { isShared: true })).socket)
    const [second = '', third = ''] = await Promise.all(others)
    await write(third, 33, MIB)
    expect(await read(second, MIB)).toBe(33)
    expect((await client.read(MIB, 4096))[0]).toBe(33)
    await expect(nodes.attach(1, 'disk')).rejects.toThrow(/ERR_VOLUME_ATTACHED/)
    for (const index of [2, 3]) await nodes.detach(index, volume)
    expect(await nodes.attach(1, 'disk')).toMatchObject({ isShared: false })
    await expect(nodes.attach(2, 'disk', { isShared: true })).rejects.toThrow(/ERR_VOLUME_ATTACHED/)
    expect((await client.read(MIB, 4096))[0]).toBe(33)
    client.close()
    await nodes.detach(1, volume)
  },
)

test(
  'a host that has all of a volume leads it with the attachment, unless it is not to; another host does not',
  options,
  async () => {
    const leader = await nodes.leaderOf('disk', bare)
    const other = leader === primary ? replica : primary
    for (const [index, how, leads] of [
      [other, { keepPrimary: true }, leader],
      [other, {}, other],
      [bare, {}, other],
    ] as const) {
      const { socket } = await nodes.attach(index, 'disk', how)
      expect(await nodes.leaderOf('disk', bare)).toBe(leads)
      await write(socket, 66, 5 * MIB)
      await nodes.detach(index, 'disk')
    }
    const local = await nodes.ask<{ volume: string }>(primary, 'volumes', {
      name: 'local',
      replicas: 3,
      sizeBytes: MIB,
      mode: 'local',
    })
    await nodes.isWhole('local', primary)
    const at = await nodes.leaderOf('local', bare)
    const { socket } = await nodes.attach((at % 3) + 1, 'local')
    expect(await nodes.leaderOf('local', bare)).toBe(at)
    await write(socket, 67)
    await nodes.detach((at % 3) + 1, local.volume)
  },
)

test(
  'at a host that holds no replica, ID.info is at the head, and a branch of it has the content',
  options,
  async () => {
    await write((await nodes.attach(bare, 'disk')).socket, 44, 2 * MIB)
    const { version } = await nodes.find(bare, 'disk')
    await expect.poll(() => infoAt(bare), PATIENCE).toBe(version)
    const branch = await nodes.ask<{ volume: string }>(bare, 'branches', { from: infoAt(bare) })
    expect(await read((await nodes.attach(bare, branch.volume)).socket, 2 * MIB)).toBe(44)
    await nodes.detach(bare, branch.volume)
    await nodes.detach(bare, 'disk')
  },
)

test(
  'a client outlives the replicator of its host and the engine of the primary; after its own engine it finds the same socket',
  options,
  async () => {
    const { socket } = await nodes.attach(bare, 'disk')
    await write(socket, 55, 3 * MIB)
    const client = await NbdClient.connect(socket)
    const isServed = async (): Promise<void> => {
      expect((await client.read(3 * MIB, 4096))[0]).toBe(55)
      await client.write(4 * MIB, Buffer.alloc(4096, 56))
    }
    await cluster.kill(bare, 'replicator')
    await isServed()
    const leader = await nodes.leaderOf('disk', primary)
    await cluster.kill(leader, 'engine')
    await cluster.startNode(bare)
    await isServed()
    await cluster.kill(bare, 'engine')
    await expect(client.read(0, 4096)).rejects.toThrow()
    expect(await read(socket, 3 * MIB)).toBe(55)
    await cluster.kill(bare)
    await cluster.startNode(bare)
    expect(await read(socket, 3 * MIB)).toBe(55)
    // It is not forgotten who has it.
    await expect(nodes.attach(replica, 'disk')).rejects.toThrow(/ERR_VOLUME_ATTACHED/)
    await nodes.detach(bare, 'disk')
  },
)

test(
  `what is taken from a host is written there no more, by nothing that was under way either (SEED=${String(seed)})`,
  options,
  async () => {
    for (const [from, to] of [
      [bare, replica],
      [primary, bare],
    ] as const) {
      const old = await NbdClient.connect((await nodes.attach(from, 'disk')).socket)
      const oracle = new DiskOracle(4 * MIB, seed)
      await old.writeZeroes(0, 4 * MIB)
      const load = (async () => {
        while (await oracle.write(old, { count: 500, depth: 16 }));
      })()
      await expect.poll(() => oracle.acknowledged, PATIENCE).toBeGreaterThan(300)
      await expect(nodes.attach(to, 'disk')).rejects.toThrow(/ERR_VOLUME_ATTACHED/)
      const { socket } = await nodes.attach(to, 'disk', { take: true })
      const next = await NbdClient.connect(socket)
      // Each sector as it was acknowledged, or as a write that was not may have left it; so it stays.
      await oracle.check(next)
      await load
      await oracle.check(next)
      await expect(old.read(0, 4096)).rejects.toThrow()
      await expect.poll(() => nodes.attached(from), PATIENCE).toEqual([])
      next.close()
      await nodes.detach(to, 'disk')
    }
  },
)

test(
  'what a host that is gone has attached is given up by command, and not while it is there',
  options,
  async () => {
    await nodes.attach(bare, 'disk')
    const giveUp = (): Promise<unknown> =>
      nodes.ask(primary, `volumes/disk/attachments/${nodes.host(bare)}`, undefined, 'DELETE')
    await expect(giveUp()).rejects.toThrow(/ERR_HOLDER_UP/)
    await cluster.kill(bare)
    await expect.poll(() => giveUp().then(() => 'done', String), PATIENCE).toBe('done')
    await nodes.attach(replica, 'disk')
    // The command line says the same.
    await expect(cluster.at(primary, 'attach', 'disk')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('ERR_VOLUME_ATTACHED'),
    })
    expect(await cluster.at(primary, 'attach', 'disk', '--take')).toContain(volume)
    await cluster.at(primary, 'detach', 'disk')
  },
)
