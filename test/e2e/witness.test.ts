/**
 * Two data hosts and a witness, real processes killed by signal. Goal: whichever data host dies, a client at a host that lives
 * sees a pause and no error, nothing acknowledged is lost, and the volume is whole again by itself; with both gone it stops and
 * gives nothing wrong; the witness keeps no data. Method: as node-fail-over.test.ts, with a client that knows every sector.
 */
import type { Answer } from '@cloudfs/http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, PATIENCE } from './support/cluster.js'
import { underLoad } from './support/load.js'
import { Nodes, read, write } from './support/nodes.js'

const options = { timeout: 120_000 }
const MIB = 1024 * 1024
const SIZE = 8 * MIB
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
const cluster = new Cluster()
let nodes: Nodes
let witness = 0

beforeAll(async () => {
  await cluster.up(3)
  nodes = await Nodes.of(cluster)
  await cluster.cloudfs('newdisk', '2', '--witness', '--size', '16M', '--name', 'web')
  const { replicas } = await nodes.find(1, 'web')
  witness = nodes.indexOf(replicas.find(({ role }) => role === 'witness')?.host ?? '')
}, 120_000)

afterAll(async () => {
  await cluster.dispose()
}, 120_000)

const roles = async (): Promise<string[]> =>
  (await nodes.find(witness, 'web')).replicas.map(({ role }) => role).sort()
const isWhole = async (): Promise<void> => {
  await expect.poll(roles, PATIENCE).toEqual(['data', 'data', 'witness'])
  await nodes.isWhole('web', witness)
}
const health = async (): Promise<Answer<'status'>['volumes'][number] | undefined> =>
  (await nodes.ask<Answer<'status'>>(witness, 'status')).volumes[0]

test(
  `a client goes on when the primary's host dies, and when the other one does (SEED=${String(seed)})`,
  options,
  async () => {
    const { socket } = await nodes.attach(witness, 'web')
    await underLoad({ socket, sizeBytes: SIZE, seed }, async ({ client, oracle }) => {
      const goesOn = async (): Promise<void> => {
        const before = oracle.acknowledged
        await expect.poll(() => oracle.acknowledged, PATIENCE).toBeGreaterThan(before + 100)
        await client.flush()
      }
      for (const whose of ['primary', 'other']) {
        const leader = await nodes.leaderOf('web', witness)
        const other = 6 - witness - leader
        const dead = whose === 'primary' ? leader : other
        await cluster.kill(dead)
        await goesOn()
        expect(await roles()).toEqual(['data', 'learner', 'witness'])
        expect(await health()).toMatchObject({
          state: 'degraded',
          text: expect.stringMatching(/^degraded: one data copy beside a witness/),
        })
        expect(await cluster.at(witness, 'info', 'web')).toMatch(/^degraded/m)
        await cluster.startNode(dead)
        await isWhole()
        await goesOn()
      }
    })
    await nodes.detach(witness, 'web')
  },
)

test('the witness keeps no data and serves none', options, async () => {
  const { replicas } = await nodes.find(1, 'web')
  expect(await cluster.at(1, 'ls')).toMatch(/ 2 \+ witness /)
  const liveBytes = async (index: number): Promise<number> => {
    const metrics = await (await fetch(`${cluster.node(index).url}/metrics`)).text()
    return Number(/^cloudfs_engine_live_bytes (\d+)/m.exec(metrics)?.[1])
  }
  const data = replicas.filter(({ role }) => role === 'data').map(({ host }) => nodes.indexOf(host))
  for (const index of data) expect(await liveBytes(index)).toBeGreaterThan(SIZE / 4)
  expect(await liveBytes(witness)).toBe(0)
  await expect(nodes.migrate(1, 'web', witness)).rejects.toThrow(/ERR_NOT_MEMBER/)
  await expect(nodes.ask(1, 'volumes/web/replace', { leaves: nodes.host(witness) })).rejects.toThrow(
    /ERR_SET_CHANGE/,
  )
})

test('with both data hosts gone it stops, and goes on with what was acknowledged', options, async () => {
  const { socket } = await nodes.attach(witness, 'web')
  await write(socket, 41)
  const leader = await nodes.leaderOf('web', witness)
  const dead = [leader, 6 - witness - leader]
  for (const index of dead) nodes.signal(index, 'SIGKILL')
  await expect.poll(health, PATIENCE).toMatchObject({ state: 'paused' })
  const late = read(socket)
  await Promise.all(dead.map((index) => cluster.startNode(index)))
  expect(await late).toBe(41)
  await isWhole()
  expect(await cluster.equalHeads((await nodes.find(witness, 'web')).volume)).toMatch(/^[0-9a-f]{40}$/)
  await nodes.detach(witness, 'web')
})

test('a branch has the same witness, which starts again behind both', options, async () => {
  const { socket } = await nodes.attach(1, 'web')
  // Not known to be committed there when its host dies.
  await write(socket, 42)
  const branch = (await cluster.cloudfs('branch', 'web', '--name', 'copy')).split('\n').at(-1)
  await cluster.kill(witness)
  await cluster.startNode(witness)
  await isWhole()
  await nodes.isWhole('copy', witness)
  expect((await nodes.find(witness, 'copy')).replicas.map(({ role }) => role).sort()).toEqual([
    'data',
    'data',
    'witness',
  ])
  expect(branch).toMatch(/^[0-9a-f]{40}$/)
  await nodes.detach(1, 'web')
  expect(await read((await nodes.attach(1, 'copy')).socket)).toBe(42)
  await nodes.detach(1, 'copy')
})

test('a disk is deleted though one of the two data hosts has just gone', options, async () => {
  const { volume } = await nodes.find(witness, 'web')
  const leader = await nodes.leaderOf('web', witness)
  const dead = 6 - witness - leader
  await cluster.kill(dead)
  await cluster.at(witness, 'deletedisk', 'web')
  const names = async (index: number): Promise<string[]> =>
    (await nodes.ask<Answer<'volumes'>>(index, 'volumes')).map(({ name }) => name)
  expect(await names(witness)).toEqual(['copy'])
  await cluster.startNode(dead)
  await expect.poll(() => names(dead), PATIENCE).toEqual(['copy'])
  expect(volume).toMatch(/^[0-9a-f]{40}$/)
})
