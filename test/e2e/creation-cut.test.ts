/** A creation that is cut, by the death of the node that makes it, leaves a whole volume or nothing. */
import { join } from 'node:path'
import { EngineClient } from '@cloudfs/replicator'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, IS_LONG, PATIENCE } from './support/cluster.js'

const KILLS = IS_LONG ? 30 : 2
/** Within this time after a command was given, it has ended. */
const SPAN_MS = 800
const cluster = new Cluster()

beforeAll(async () => {
  await cluster.up(3)
}, 120_000)

afterAll(async () => {
  await cluster.dispose()
}, 120_000)

async function ask(
  index: number,
  verb: 'volumes' | 'follows',
): Promise<readonly { volume: string; deletionCommitted?: boolean }[]> {
  const socketPath = join(cluster.node(index).directory, 'run', 'engine.sock')
  const engine = await EngineClient.connect({ socketPath })
  try {
    return (await engine.call(verb, verb === 'volumes' ? { all: true } : {})).result
  } finally {
    await engine.close()
  }
}

/** Volumes in each store that are not gone, committed or not. */
async function stored(): Promise<string[]> {
  const lists = await Promise.all([1, 2, 3].map((index) => ask(index, 'volumes')))
  return lists.map((list) =>
    list
      .flatMap(({ volume, deletionCommitted }) => (deletionCommitted === true ? [] : [volume]))
      .sort()
      .join(' '),
  )
}

test(
  'whenever its primary is killed, all hosts have the volume soon after, or none has',
  { timeout: 60_000 * KILLS },
  async () => {
    const seed = Number(process.env['CLOUDFS_SEED'] ?? Date.now() % 2 ** 31)
    console.log(`CLOUDFS_SEED=${String(seed)}`)
    let state = seed
    const random = (): number => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31
    for (let count = 0; count < KILLS; count++) {
      const making = cluster.at(2, 'newdisk', '3', '--size', '16M').catch(() => undefined)
      // Not a wait for something: the cut comes at any time.
      await new Promise((resolve) => setTimeout(resolve, random() * SPAN_MS))
      await cluster.kill(2)
      await making
      await cluster.startNode(2)
      try {
        await expect.poll(async () => new Set(await stored()).size, PATIENCE).toBe(1)
      } catch (error) {
        for (const index of [1, 2, 3])
          console.log(index, await ask(index, 'volumes'), await ask(index, 'follows'))
        throw error
      }
      const [left = ''] = await stored()
      for (const volume of left.split(' ').filter((each) => each !== '')) {
        await cluster.equalHeads(volume)
        await cluster.cloudfs('deletedisk', volume)
      }
      await expect.poll(stored, PATIENCE).toEqual(['', '', ''])
    }
  },
)
