/** `cloudfs status`: how each volume is, by how much a replica lacks, what to do, and an exit code for scripts. */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { EngineClient } from '@cloudfs/replicator'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, type Disk, PATIENCE } from './support/cluster.js'

const cluster = new Cluster()
let disk: Disk
let hosts: string[] = []

beforeAll(async () => {
  await cluster.up(3)
  disk = await cluster.disk('64M', 'web')
  const nodes = JSON.parse(await cluster.cloudfs('nodes', '--json')) as { host: string; httpPort: number }[]
  hosts = cluster.nodes.map(
    ({ httpPort }) => nodes.find((each) => each.httpPort === httpPort)?.host ?? 'none',
  )
}, 120_000)

afterAll(async () => {
  // An engine that a failed test left stopped does not end by itself.
  for (const { directory } of cluster.nodes) signalEngine(directory, 'SIGCONT')
  await cluster.dispose()
}, 120_000)

function signalEngine(directory: string, signal: NodeJS.Signals): void {
  try {
    process.kill(Number(readFileSync(join(directory, 'run', 'engine.pid'), 'utf8')), signal)
  } catch {
    // It has ended.
  }
}

interface Status {
  readonly volumes: readonly { readonly text: string }[]
}

/** What `cloudfs status` prints at a node, and its exit code. */
async function status(index = 1): Promise<string> {
  return cluster.shell('cloudfs status || echo "exit $?"', index)
}

/** More than may be on its way to a replica that keeps up. */
async function write(pattern: number): Promise<void> {
  await cluster.shell(`qemu-io -f raw -c 'write -P ${String(pattern)} 0 16M' '${disk.uri}'`)
}

async function isWell(): Promise<void> {
  await expect.poll(() => status(), PATIENCE).toMatch(new RegExp(`${disk.volume} +web +ok +in step$`))
}

test('a volume whose replicas are equal is in step, and the exit code is 0', async () => {
  await isWell()
  await expect(cluster.cloudfs('status')).resolves.not.toMatch(/suspect|down|degraded|paused/)
})

test('a replica whose node is killed is away by so many bytes, that node not up, and is to be started', async () => {
  await cluster.kill(2)
  await write(1)
  const told = `away: ${hosts[1] ?? ''} by \\d+\\.\\d+ MiB; it catches up once that node is started`
  await expect.poll(() => status(), PATIENCE).toMatch(new RegExp(`web +degraded +${told}\nexit 1$`))
  expect(await status()).toMatch(new RegExp(`${hosts[1] ?? ''} +(suspect|down) `))
  await cluster.startNode(2)
  await isWell()
})

test('a replica that does not keep up is behind by so many bytes, and nothing is to be done', async () => {
  const { directory } = cluster.node(3)
  signalEngine(directory, 'SIGSTOP')
  await write(2)
  const told = `behind: ${hosts[2] ?? ''} by \\d+\\.\\d+ MiB; nothing to do, it is catching up`
  await expect.poll(() => status(), PATIENCE).toMatch(new RegExp(`web +degraded +${told}\nexit 1$`))
  signalEngine(directory, 'SIGCONT')
  await isWell()
})

test('a replica whose stream is refused says why, until its replicator has mended that', async () => {
  const socketPath = join(cluster.node(2).directory, 'run', 'engine.sock')
  const engine = await EngineClient.connect({ socketPath })
  const followed = async () => {
    const [follow] = (await engine.call('follows', {})).result
    if (follow === undefined) throw new Error('node 2 follows nothing')
    return follow
  }
  await expect
    .poll(async () => {
      // Each time anew: the replicator, which may be quicker than who asks, fetches the right key.
      const { volume, leader, address } = await followed()
      await engine.call('follow', { volume, leader, address, key: randomBytes(32).toString('hex') })
      await expect.poll(async () => (await followed()).state, PATIENCE).not.toBe('connecting')
      const answer = await fetch(`${cluster.first.url}/v1/status`)
      return ((await answer.json()) as Status).volumes[0]?.text
    }, PATIENCE)
    .toMatch(new RegExp(`^away: ${hosts[1] ?? ''}.*; ${hosts[1] ?? ''} does not follow: ERR_TICKET: `))
  await engine.close()
  await isWell()
})

test('a volume without a majority is paused, and whom to start is told', async () => {
  await Promise.all([2, 3].map((index) => cluster.kill(index)))
  await expect.poll(() => status(), PATIENCE).toMatch(/web +paused +paused: 1 of 3 replicas answer; start /)
  const text = await status()
  for (const host of hosts.slice(1)) expect(text.split('replicas answer')[1]).toContain(host)
  await Promise.all([2, 3].map((index) => cluster.startNode(index)))
  await isWell()
})

test('a volume whose primary is killed is degraded once another leads, and that one is told', async () => {
  await cluster.kill(1)
  const told = `away: ${hosts[0] ?? ''}; it catches up once that node is started\nexit 1$`
  await expect.poll(() => status(2), PATIENCE).toMatch(new RegExp(`web +degraded +${told}`))
  const info = await cluster.at(2, 'info', 'web')
  expect(info).toMatch(new RegExp(`primary +(${hosts[1] ?? ''}|${hosts[2] ?? ''}) in-step`))
  expect(info).toMatch(new RegExp(`replica +${hosts[0] ?? ''} away`))
  await cluster.startNode(1)
  await isWell()
})
