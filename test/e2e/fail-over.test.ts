/**
 * A volume's primary dies, hangs or comes back with old ideas. Goal: one of the others goes on with all that was
 * acknowledged, soon, and the old one serves nothing. Method: real engines and real NBD clients; the shipped view
 * protocol beside each engine, as a replicator runs it.
 */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { EngineCluster } from './support/engine-cluster.js'
import { nbdUri } from './support/engine-process.js'
import { EngineViews } from './support/engine-views.js'
import { runTool } from './support/run-tool.js'

const isLong = process.env['CLOUDFS_TEST_LONG'] === '1'
const options = { timeout: isLong ? 3_600_000 : 60_000 }
const MIB = 1024 * 1024
const ROUNDS = isLong ? 1000 : 8

let cluster: EngineCluster
let views: EngineViews
beforeEach(async () => {
  cluster = await EngineCluster.start(3, { args: ['--elections'] })
  await cluster.createVolume(32 * MIB)
  // One that has nothing of the volume yet promises nothing.
  await cluster.headsAreEqual()
  views = new EngineViews(cluster)
  for (const index of [0, 1, 2]) views.begin(index)
})
afterEach(async () => {
  await views.endAll()
  await cluster.dispose()
})

async function qemuIo(index: number, ...commands: readonly string[]): Promise<void> {
  const uri = nbdUri(await cluster.engine(index).serve(cluster.volume))
  await runTool('qemu-io', '-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri)
}

test('what was acknowledged is at the next primary when the first is killed', options, async () => {
  await qemuIo(0, 'write -P 7 1M 64k', 'flush', 'write -P 8 2M 4k')
  await views.end(0)
  await cluster.kill(0)
  const next = await views.leader(0)
  await qemuIo(next, 'read -P 7 1M 64k', 'read -P 8 2M 4k', 'write -P 9 3M 4k', 'flush')

  // The old one follows, whatever it believed when it ended.
  await cluster.launch(0)
  views.begin(0)
  await cluster.follow(0, next)
  await cluster.headsAreEqual()
})

test('fail-over goes on and on: each primary is killed in turn', options, async () => {
  let leader = 0
  for (let round = 1; round <= 4; round++) {
    await qemuIo(leader, `write -P ${String(round)} ${String(round)}M 64k`)
    await views.end(leader)
    await cluster.kill(leader)
    const next = await views.leader(leader)
    for (let past = 1; past <= round; past++)
      await qemuIo(next, `read -P ${String(past)} ${String(past)}M 64k`)
    await cluster.launch(leader)
    views.begin(leader)
    await cluster.follow(leader, next)
    await cluster.headsAreEqual()
    leader = next
  }
})

test('a primary that hung is deposed, and serves nothing when it wakes', options, async () => {
  await qemuIo(0, 'write -P 7 0 64k')
  const { pid } = cluster.engine(0)
  process.kill(pid, 'SIGSTOP')
  const next = await views.leader(0)
  await qemuIo(next, 'read -P 7 0 64k', 'write -P 8 0 64k', 'flush')
  process.kill(pid, 'SIGCONT')
  await expect(qemuIo(0, 'read -P 7 0 64k')).rejects.toThrow()
  await cluster.headsAreEqual()
})

test('a primary hands over, back and forth, and nobody waits for a lease', options, async () => {
  let leader = 0
  const rounds = ROUNDS
  for (let round = 1; round <= rounds; round++) {
    const block = `${String(round % 16)}M 64k`
    await qemuIo(leader, `write -P ${String(round % 256)} ${block}`)
    const next = (leader + 1 + (round % 2)) % 3
    await views.handOver(leader, next)
    await expect(qemuIo(leader, `read ${block}`)).rejects.toThrow()
    await qemuIo(next, `read -P ${String(round % 256)} ${block}`)
    leader = next
  }
  await cluster.headsAreEqual()
})
