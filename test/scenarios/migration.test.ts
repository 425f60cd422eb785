/**
 * A running VM moves from one host to another, and its disk's primary with it. Goal: no error in the guest or on its disk, and
 * each write there once. Method: two QEMUs under TCG, each at its own node's socket of a disk that both nodes share for as
 * long as that takes; the guest writes, syncs and says so all the time, and reads everything back in the end.
 */
import { mkdirSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, REPLICAS } from '../e2e/support/cluster.js'
import { makeExt4 } from '../e2e/support/ext4-image.js'
import { type Guest, GuestImage, tickingScript } from '../e2e/support/guest.js'
import { Nodes } from '../e2e/support/nodes.js'

const MIB = 1024 * 1024
const TICKS = 60
/** Said once before and once behind the move. */
const MOVED_AT = 8
const cluster = new Cluster()
const guests: Guest[] = []
let nodes: Nodes

beforeAll(async () => {
  await cluster.up(REPLICAS)
  nodes = await Nodes.of(cluster)
  mkdirSync(cluster.path('files'))
  await makeExt4(cluster.path('disk.raw'), 64 * MIB, cluster.path('files'))
}, 120_000)

afterAll(async () => {
  for (const guest of guests) await guest.kill()
  await cluster.dispose()
}, 120_000)

async function attach(index: number, ...options: string[]): Promise<string[]> {
  const { qemu } = JSON.parse(await cluster.at(index, 'attach', 'vm', ...options, '--json')) as {
    qemu: string[]
  }
  return qemu
}

test(
  'a VM under load moves to another host without an error, and the primary follows',
  { timeout: 180_000 },
  async () => {
    await cluster.cloudfs('import', 'disk.raw', '--name', 'vm', '--replicas', String(REPLICAS))
    const image = GuestImage.prepare(cluster.path('guest'))
    const first = await image.boot('vm', tickingScript(TICKS), await attach(1))
    guests.push(first)
    await first.says(`guest: tick ${String(MOVED_AT)}.`)
    expect(await nodes.leaderOf('vm', 2)).toBe(1)

    // Under the guest that runs: it goes on.
    await attach(1, '--shared')
    const path = cluster.path('migration')
    const second = await image.receive('vm', await attach(2, '--shared'), path)
    guests.push(second)
    expect(await nodes.leaderOf('vm', 3)).toBe(2)
    await first.migrate(path)
    await first.kill()
    await cluster.at(1, 'detach', 'vm')
    await attach(2)

    await second.done()
    const said = [first, second].map(({ console: text }) => text.match(/guest: tick/g)?.length ?? 0)
    expect(Math.min(...said)).toBeGreaterThan(0)
    for (const { events } of [first, second]) expect(events).not.toContain('BLOCK_IO_ERROR')
    expect((await nodes.find(3, 'vm')).attachments).toMatchObject([{ host: nodes.host(2), isShared: false }])
    expect(await nodes.leaderOf('vm', 1)).toBe(2)
  },
)
