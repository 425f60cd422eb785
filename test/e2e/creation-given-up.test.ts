/**
 * Hosts that vanish after they kept room for a replica: with a majority left the volume is made whole, without one it is
 * given up, and nothing stays of it anywhere. The node that makes it runs in this process, so that the others can be killed
 * at the very moment, and it waits a second instead of twenty.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { NodeClient, NodeError } from '@cloudfs/http'
import { PeerNode } from '@cloudfs/peers'
import { EngineClient, loadConfig, logOf, ReplicatorNode } from '@cloudfs/replicator'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { Cluster, type ClusterNode, PATIENCE } from './support/cluster.js'

const MIB = 1024 ** 2
const COMMIT_TIMEOUT_MS = 1_000
/** Of a new replica that large, room for one is in a store, and not for two. */
const SIZE = 64 * MIB
const STORE_SIZE = '128M'

const cluster = new Cluster()
let maker: ReplicatorNode
let client: NodeClient

beforeAll(async () => {
  await cluster.up(2, STORE_SIZE)
  const config = loadConfig({
    flags: {
      directory: cluster.path('maker'),
      logLevel: 'silent',
      storeSize: STORE_SIZE,
      segmentSize: '8M',
      peers: cluster.nodes.map(({ httpPort }) => `127.0.0.1:${String(httpPort)}`),
      privateNetworkKey: cluster.path('network.key'),
      ...{ httpPort: 0, engineHttpPort: 0, peerPort: 0, nbdPort: 0 },
    },
  })
  maker = await ReplicatorNode.start(config, logOf(config), {
    commitTimeoutMs: COMMIT_TIMEOUT_MS,
  })
  client = new NodeClient({ url: `http://127.0.0.1:${String(maker.httpPort)}` })
}, 120_000)

afterEach(() => {
  vi.restoreAllMocks()
})

afterAll(async () => {
  await maker.close()
  process.kill(Number(readFileSync(cluster.path('maker/run/engine.pid'), 'utf8')), 'SIGKILL')
  await cluster.dispose()
}, 120_000)

async function allUp(): Promise<void> {
  const upCount = async () => (await client.call('nodes')).filter(({ state }) => state === 'up').length
  await expect.poll(upCount, PATIENCE).toBe(3)
}

/** Kills both halves of these nodes as soon as both hosts have answered that they keep room. */
function killOnceReserved(victims: readonly ClusterNode[]): void {
  let answers = 0
  const request = PeerNode.prototype.request
  vi.spyOn(PeerNode.prototype, 'request').mockImplementation(async function (
    this: PeerNode,
    host,
    kind,
    ...rest
  ) {
    const answer = await request.call(this, host, kind, ...rest)
    if (kind.name === 'volume/reserve' && ++answers === 2) {
      for (const pid of victims.flatMap(({ enginePid, replicatorPid }) => [replicatorPid, enginePid]))
        if (pid !== undefined) process.kill(pid, 'SIGKILL')
    }
    return answer
  })
}

/** Volumes in each store that are not gone, committed or not. */
async function stored(): Promise<string[][]> {
  const places = [cluster.path('maker'), ...cluster.nodes.map(({ directory }) => directory)]
  return Promise.all(
    places.map(async (directory) => {
      const engine = await EngineClient.connect({ socketPath: join(directory, 'run', 'engine.sock') })
      try {
        const { result } = await engine.call('volumes', { all: true })
        return result.flatMap((each) => (each.deletionCommitted ? [] : [each.volume]))
      } finally {
        await engine.close()
      }
    }),
  )
}

/** There is room for one new replica only, so a reservation that stayed would be in its way. */
async function hasRoom(replicas: number): Promise<void> {
  const made = await client.call('newVolume', { body: { replicas, sizeBytes: SIZE } })
  expect(made.replicas).toHaveLength(replicas)
}

test('a creation whose members vanish is given up, and nothing stays of it', async () => {
  await allUp()
  killOnceReserved(cluster.nodes)
  const refused = await client
    .call('newVolume', { body: { replicas: 3, sizeBytes: SIZE } })
    .catch((error: unknown) => error)
  expect(refused).toBeInstanceOf(NodeError)
  expect(refused).toMatchObject({ code: 'ERR_CREATION_GIVEN_UP' })
  expect(await client.call('volumes')).toEqual([])
  await hasRoom(1)
  for (const { volume } of await client.call('volumes'))
    await client.call('deleteVolume', { params: { volume } })

  await Promise.all([1, 2].map((index) => cluster.startNode(index)))
  await allUp()
  await expect.poll(stored, PATIENCE).toEqual([[], [], []])
})

test('a creation of which one member vanishes is made, and reaches that one when it is back', async () => {
  await allUp()
  killOnceReserved([cluster.node(2)])
  const { volume } = await client.call('newVolume', { body: { replicas: 3, sizeBytes: SIZE } })
  expect((await client.call('volumes')).map((each) => each.volume)).toEqual([volume])

  await cluster.startNode(2)
  await allUp()
  await expect.poll(stored, PATIENCE).toEqual([[volume], [volume], [volume]])
  await client.call('deleteVolume', { params: { volume } })
  await expect.poll(stored, PATIENCE).toEqual([[], [], []])
  await hasRoom(3)
})
