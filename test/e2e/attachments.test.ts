/**
 * One disk, attached wherever it is wanted: for writing at one host at a time, over the whole cluster, by a bridge where the
 * host is not the primary, and again at the same socket after either process was killed.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, PATIENCE } from './support/cluster.js'

const cluster = new Cluster()
let volume: string
let hosts: string[]

beforeAll(async () => {
  await cluster.up(3)
  volume = await cluster.cloudfs('newdisk', '2', '--size', '64M', '--name', 'disk')
  hosts = await Promise.all(
    cluster.nodes.map(async ({ url }) => (await (await fetch(`${url}/id`)).text()).trim()),
  )
}, 120_000)

afterAll(async () => {
  await cluster.dispose()
}, 120_000)

const io = (uri: string, ...commands: string[]): Promise<string> =>
  cluster.shell(`qemu-io -f raw ${commands.map((each) => `-c '${each}'`).join(' ')} '${uri}'`)

const infoAt = (index: number): string =>
  readFileSync(join(cluster.node(index).directory, 'run', `${volume}.info`), 'utf8').trim()

async function attachAt(index: number, ...options: string[]): Promise<string> {
  return cluster.at(index, 'attach', 'disk', ...options)
}

test(
  'each host in turn has the disk for itself; others are refused and told who has it',
  { timeout: 60_000 },
  async () => {
    for (const index of [1, 2, 3]) {
      const uri = await attachAt(index)
      expect(await attachAt(index)).toBe(uri)
      await io(uri, `write -P ${String(index)} 0 64k`, `read -P ${String(index)} 0 64k`, 'flush')
      const other = (index % 3) + 1
      await expect(attachAt(other)).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringMatching(
          `ERR_VOLUME_ATTACHED: .*the volume is attached at host ${hosts[index - 1] ?? ''}`,
        ),
      })
      await expect(cluster.at(other, 'deletedisk', 'disk')).rejects.toMatchObject({
        stderr: expect.stringContaining('ERR_VOLUME_ATTACHED'),
      })
      expect(await cluster.at(other, 'ls')).toContain(hosts[index - 1])
      await cluster.at(index, 'detach', 'disk')
      await expect(cluster.at(index, 'detach', 'disk')).rejects.toMatchObject({
        stderr: expect.stringContaining('ERR_NOT_ATTACHED'),
      })
    }
  },
)

test(
  'hosts that share it see what the others write, and one that does not share is refused',
  { timeout: 60_000 },
  async () => {
    const uris = await Promise.all([1, 2, 3].map((index) => attachAt(index, '--shared')))
    await io(uris[2] ?? '', 'write -P 33 1M 64k', 'flush')
    for (const uri of uris) expect(await io(uri, 'read -P 33 1M 64k')).not.toMatch(/failed/)
    await expect(attachAt(1)).rejects.toMatchObject({
      stderr: expect.stringContaining('ERR_VOLUME_ATTACHED'),
    })
    for (const index of [1, 2, 3]) await cluster.at(index, 'detach', volume)
  },
)

test(
  'at a host that holds no replica, ID.info is at the head, and a branch of it has the content',
  { timeout: 60_000 },
  async () => {
    const uri = await attachAt(3)
    await io(uri, 'write -P 44 2M 64k', 'flush')
    const { version } = JSON.parse(await cluster.at(3, 'info', 'disk', '--json')) as { version: string }
    await expect.poll(() => infoAt(3), PATIENCE).toBe(version)
    const branch = await cluster.shell(
      `cloudfs branch "$(cat ${cluster.node(3).directory}/run/${volume}.info)"`,
      3,
    )
    const branchUri = await cluster.at(3, 'attach', branch)
    expect(await io(branchUri, 'read -P 44 2M 64k')).not.toMatch(/failed/)
    await cluster.at(3, 'detach', branch)
    await cluster.at(3, 'deletedisk', branch)
  },
)

test(
  'a bridge is served again at the same socket after either process of its host, or of the primary, was killed',
  { timeout: 120_000 },
  async () => {
    const uri = await attachAt(3)
    await io(uri, 'write -P 55 3M 64k', 'flush')
    const isServed = async () => {
      await expect
        .poll(() => io(uri, 'read -P 55 3M 64k').catch((error: unknown) => String(error)), PATIENCE)
        .toMatch(/read 65536\/65536/)
    }
    await cluster.kill(3, 'engine')
    await isServed()
    await cluster.kill(3, 'replicator')
    await isServed()
    await cluster.startNode(3)
    await cluster.kill(1, 'engine')
    await isServed()
    await cluster.kill(3)
    await cluster.startNode(3)
    await isServed()
    await cluster.kill(1)
    await cluster.startNode(1)
    await isServed()
    await expect(attachAt(2)).rejects.toMatchObject({
      stderr: expect.stringContaining('ERR_VOLUME_ATTACHED'),
    })
  },
)

test(
  'what a host that is gone has attached is given up by command, and not while it is there',
  { timeout: 60_000 },
  async () => {
    const host = hosts[2] ?? ''
    await expect(cluster.cloudfs('detach', 'disk', '--host', host)).rejects.toMatchObject({
      stderr: expect.stringContaining('ERR_HOLDER_UP'),
    })
    await cluster.kill(3)
    await expect
      .poll(
        () =>
          cluster.cloudfs('detach', 'disk', '--host', host).then(
            () => 'done',
            () => 'not yet',
          ),
        PATIENCE,
      )
      .toBe('done')
    await attachAt(2)
  },
)
