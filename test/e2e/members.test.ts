/**
 * The set of a volume's members changes while clients write (docs/protocol.md, M1). Goal: nothing that was acknowledged is
 * lost, and who leaves is not needed any more. Method: real engines and real NBD clients; the shipped view protocol beside
 * each engine, as a replicator runs it.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { EngineCluster } from './support/engine-cluster.js'
import { nbdUri } from './support/engine-process.js'
import { EngineViews } from './support/engine-views.js'
import { runTool } from './support/run-tool.js'

const options = { timeout: 60_000 }
const MIB = 1024 * 1024

let cluster: EngineCluster
let views: EngineViews
beforeEach(async () => {
  cluster = await EngineCluster.start(4, { args: ['--elections'] })
})
afterEach(async () => {
  await views.endAll()
  await cluster.dispose()
})

async function begin(copies: number, witness?: number): Promise<void> {
  await cluster.createVolume(32 * MIB, 'quorum', copies, witness)
  views = new EngineViews(cluster)
  for (let index = 0; index < cluster.size; index++) views.begin(index)
}

async function qemuIo(index: number, ...commands: readonly string[]): Promise<void> {
  const uri = nbdUri(await cluster.engine(index).serve(cluster.volume))
  await runTool('qemu-io', '-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri)
}

test('a member is replaced: the new one has everything, and the old one is not needed', options, async () => {
  await begin(3)
  await qemuIo(0, 'write -P 7 1M 64k', 'flush')
  await views.changeSet(0, [0, 1, 2], 3)
  await qemuIo(0, 'write -P 8 2M 64k')
  await views.changeSet(0, [0, 1, 3])
  // Of the set as it is now one may be gone, and the one that left with it.
  for (const index of [2, 0]) {
    await views.end(index)
    await cluster.kill(index)
  }
  const next = await views.leader()
  expect([1, 3]).toContain(next)
  await qemuIo(next, 'read -P 7 1M 64k', 'read -P 8 2M 64k', 'write -P 9 3M 64k', 'flush')
  await qemuIo(next, 'read -P 9 3M 64k')
})

test('one copy becomes two and three, and the first one leaves', options, async () => {
  await begin(1)
  await qemuIo(0, 'write -P 7 1M 64k', 'flush')
  await views.changeSet(0, [0], 1)
  await views.changeSet(0, [0, 1])
  await views.changeSet(0, [0, 1], 2)
  await views.changeSet(0, [0, 1, 2])
  await qemuIo(0, 'write -P 8 2M 64k')
  await views.handOver(0, 2)
  await views.changeSet(2, [1, 2])
  await views.end(0)
  await cluster.kill(0)
  await qemuIo(2, 'read -P 7 1M 64k', 'read -P 8 2M 64k', 'write -P 9 3M 64k', 'flush')
})

test('a set that nobody could agree on is not begun: the primary leads on', options, async () => {
  await begin(3)
  await views.changeSet(0, [0, 1, 2], 3)
  await views.end(3)
  await cluster.kill(3)
  await views.end(2)
  await cluster.kill(2)
  // Of the set to come only the primary answers.
  await expect(views.changeSet(0, [0, 3])).rejects.toThrow('too few members answer')
  await qemuIo(0, 'write -P 7 1M 64k', 'flush')
})

test(
  'a change of which its primary told those alone who leave is carried on without it',
  options,
  async () => {
    await begin(3)
    await qemuIo(0, 'write -P 7 1M 64k', 'flush')
    await views.changeSet(0, [0, 1, 2], 3)
    const end = async (index: number): Promise<void> => {
      await cluster.kill(index)
      await views.end(index)
    }
    const epoch = { counter: 0, host: cluster.host(0) }
    const hasViews = (index: number, count: number): Promise<void> =>
      vi.waitFor(
        async () => {
          const { result } = await cluster
            .engine(index)
            .client.call('would-promise', { volume: cluster.volume, epoch })
          expect(result.views).toHaveLength(count)
        },
        { timeout: 5_000, interval: 5 },
      )
    await end(1)
    // The one that leaves gets the view's record when the one that joins has it, and is there no more.
    const { pid, client } = cluster.engine(2)
    await client.call('sync', {})
    views.onBeginView(0, () => process.kill(pid, 'SIGSTOP'))
    const change = views.changeSet(0, [0, 1, 3]).catch((error: unknown) => error)
    await hasViews(3, 2)
    // Its lease, which is asked for behind the record, outlives it.
    await delay(60)
    await cluster.kill(3)
    process.kill(pid, 'SIGCONT')
    await hasViews(2, 1)
    await views.end(3)
    await end(0)
    await change

    for (const index of [1, 3]) {
      await cluster.launch(index)
      views.begin(index)
    }
    await hasViews(3, 2)
    const next = await views.leader(2)
    await qemuIo(next, 'read -P 7 1M 64k', 'write -P 9 3M 64k', 'flush')
    // And goes on when the one that left is gone.
    await end(2)
    await qemuIo(next, 'read -P 9 3M 64k', 'write -P 10 4M 64k', 'flush')
  },
)

test(
  'a member that joined by a record that only the witness has leads when the primary is lost',
  options,
  async () => {
    await begin(3, 2)
    await qemuIo(0, 'write -P 7 1M 64k', 'flush')
    await views.changeSet(0, [0, 1], 3)
    await qemuIo(0, 'write -P 8 2M 64k', 'flush')
    await views.end(1)
    await cluster.kill(1)
    // It has everything, and votes from the next record on, which it does not get.
    const { pid } = cluster.engine(3)
    views.onBeginView(0, () => process.kill(pid, 'SIGKILL'))
    await views.changeSet(0, [0, 3])
    await views.end(3)
    await cluster.kill(3)
    await views.end(0)
    await cluster.kill(0)

    await cluster.launch(3)
    views.begin(3)
    expect(await views.leader()).toBe(3)
    await qemuIo(3, 'read -P 7 1M 64k', 'read -P 8 2M 64k', 'write -P 9 3M 64k', 'flush')
    // Who left hears of it.
    await cluster.launch(1)
    views.begin(1)
    await qemuIo(3, 'read -P 9 3M 64k', 'write -P 10 4M 64k', 'flush')
  },
)
