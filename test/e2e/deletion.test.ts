/** What is deleted is gone everywhere, also where nobody could hear of it. */
import { join } from 'node:path'
import { EngineClient } from '@cloudfs/replicator'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, PATIENCE } from './support/cluster.js'

const cluster = new Cluster()

beforeAll(async () => {
  await cluster.up(3)
}, 120_000)

afterAll(async () => {
  await cluster.dispose()
}, 120_000)

/** Volumes in the store of a node that are not deleted, committed or not. */
async function storedAt(index: number): Promise<string[]> {
  const socketPath = join(cluster.node(index).directory, 'run', 'engine.sock')
  const engine = await EngineClient.connect({ socketPath })
  try {
    const { result } = await engine.call('volumes', { all: true })
    return result.filter(({ deletionCommitted }) => !deletionCommitted).map(({ volume }) => volume)
  } finally {
    await engine.close()
  }
}

const stored = () => Promise.all([1, 2, 3].map((index) => storedAt(index)))

test('a deleted volume is gone from all stores', { timeout: 60_000 }, async () => {
  const volume = await cluster.cloudfs('newdisk', '3', '--size', '16M')
  await cluster.equalHeads(volume)
  await cluster.at(2, 'deletedisk', volume)
  await expect.poll(stored, PATIENCE).toEqual([[], [], []])
  await expect(cluster.at(3, 'info', volume)).rejects.toMatchObject({
    stderr: expect.stringContaining('ERR_UNKNOWN_VOLUME'),
  })
})

test(
  'a replica that was away while its volume was deleted drops it on return',
  { timeout: 90_000 },
  async () => {
    const volume = await cluster.cloudfs('newdisk', '3', '--size', '16M')
    await cluster.equalHeads(volume)
    await cluster.kill(3)
    await cluster.cloudfs('deletedisk', volume)
    await cluster.startNode(3)
    await expect.poll(stored, PATIENCE).toEqual([[], [], []])
  },
)

test(
  'so it does when the primary has started again meanwhile, and streams it no more',
  { timeout: 90_000 },
  async () => {
    const volume = await cluster.cloudfs('newdisk', '3', '--size', '16M')
    await cluster.equalHeads(volume)
    await cluster.kill(3)
    await cluster.cloudfs('deletedisk', volume)
    await cluster.stopNode(1)
    await cluster.startNode(1)
    await cluster.startNode(3)
    await expect.poll(stored, PATIENCE).toEqual([[], [], []])
    expect(await cluster.at(3, 'ls')).not.toContain(volume)
  },
)
