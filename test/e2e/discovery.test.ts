/**
 * Five hosts that are given one bootstrap peer learn of each other through it, and no longer need it. They stand in two
 * zones, and one of them is full: new volumes take notice.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NodeClient } from '@cloudfs/http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { PATIENCE } from './support/cluster.js'

const ZONES = ['a', 'a', 'b', 'b', 'b']
/** Room for a volume of 16 MiB, and for none. */
const STORE_SIZE = '256M'
const FULL_SIZE = '20M'
const PROGRAM = new URL('../../packages/cli/bin/cloudfs.js', import.meta.url).pathname

interface Node {
  readonly directory: string
  readonly child: ChildProcess
  readonly client: NodeClient
}

const directory = mkdtempSync(join(tmpdir(), 'cloudfs-e2e-'))
const nodes: Node[] = []
const children: { readonly directory: string; readonly child: ChildProcess }[] = []

/** A replicator and its engine, at ports that are free. */
async function startNode(index: number, ...peers: string[]): Promise<Node> {
  const place = join(directory, String(index))
  const size = index === ZONES.length - 1 ? FULL_SIZE : STORE_SIZE
  const ports = ['http', 'engine-http', 'peer', 'nbd'].map((each) => `--${each}-port=0`)
  const child = spawn(
    process.execPath,
    [
      PROGRAM,
      'replicator',
      ...peers,
      `--directory=${place}`,
      `--zone=${ZONES[index] ?? ''}`,
      `--store-size=${size}`,
      '--segment-size=1M',
      ...ports,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  children.push({ directory: place, child })
  const port = await new Promise<string>((resolve, reject) => {
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (more: string) => {
      text += more
      const found = /"httpPort":(\d+).*"msg":"serving"/.exec(text)?.[1]
      if (found !== undefined) resolve(found)
    })
    child.once('close', () => {
      reject(new Error(`node ${String(index)} ended\n${text}`))
    })
  })
  const node = { directory: place, child, client: new NodeClient({ url: `http://127.0.0.1:${port}` }) }
  nodes[index] = node
  return node
}

async function end({ child, directory: place }: Pick<Node, 'child' | 'directory'>): Promise<void> {
  const ended = new Promise((resolve) => child.once('close', resolve))
  if (child.exitCode === null && child.kill('SIGKILL')) await ended
  try {
    process.kill(Number(readFileSync(join(place, 'run', 'engine.pid'), 'utf8')), 'SIGKILL')
  } catch {
    // It has ended already, or never was.
  }
}

async function knowsAll(client: NodeClient): Promise<void> {
  const upCount = async () => (await client.call('nodes')).filter(({ state }) => state === 'up').length
  await expect.poll(upCount, PATIENCE).toBe(ZONES.length)
}

beforeAll(async () => {
  const bootstrap = await startNode(0)
  const peer = new URL(bootstrap.client.url).host
  await Promise.all(ZONES.slice(1).map((_, index) => startNode(index + 1, peer)))
}, 120_000)

afterAll(async () => {
  await Promise.all(children.map((each) => end(each)))
  rmSync(directory, { recursive: true, force: true })
})

test('replicas are spread over the zones, and a full host gets none', { timeout: 60_000 }, async () => {
  const full = (await nodes.at(-1)?.client.call('self'))?.host
  await Promise.all(nodes.map(({ client }) => knowsAll(client)))
  for (let count = 0; count < 6; count++) {
    const node = nodes[count % nodes.length]
    const made = await node?.client.call('newVolume', { body: { replicas: 2, sizeBytes: 1 << 24 } })
    expect(made?.replicas.map(({ zone }) => zone).sort()).toEqual(['a', 'b'])
    expect(made?.replicas.map(({ host }) => host)).not.toContain(full)
    await node?.client.call('deleteVolume', { params: { volume: made?.volume ?? '' } })
  }
})

test(
  'with the one peer that all were given gone, every node finds every volume',
  { timeout: 120_000 },
  async () => {
    await Promise.all(nodes.map(({ client }) => knowsAll(client)))
    const [bootstrap, ...others] = nodes
    const made = await Promise.all(
      others.map(({ client }) => client.call('newVolume', { body: { replicas: 3, sizeBytes: 1 << 24 } })),
    )
    const wanted = made.map(({ volume }) => volume).sort()
    if (bootstrap !== undefined) await end(bootstrap)
    for (const { client } of others) {
      const found = async () => (await client.call('volumes')).map(({ volume }) => volume)
      await expect.poll(found, PATIENCE).toEqual(wanted)
      for (const volume of wanted)
        expect((await client.call('volume', { params: { volume } })).volume).toBe(volume)
    }
  },
)
