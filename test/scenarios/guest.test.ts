/**
 * A VM lives on a disk: it boots, writes, syncs and turns itself off; booted from a branch it finds all that. While it
 * writes, the engine it writes to is killed: the VM sees a pause, and no error.
 */
import { mkdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, REPLICAS } from '../e2e/support/cluster.js'
import { makeExt4 } from '../e2e/support/ext4-image.js'
import { type Guest, GuestImage, tickingScript } from '../e2e/support/guest.js'

const MIB = 1024 * 1024
const options = { timeout: 180_000 }

const WRITE = `
mount -t ext4 /dev/vda /disk
test "$(cat /disk/packed)" = 'by mke2fs'
mkdir /disk/written
for n in $(seq 1 40); do dd if=/dev/urandom of=/disk/written/$n bs=7k count=$n 2> /dev/null; done
(cd /disk/written && md5sum * > ../sums)
sync
umount /disk
`

const VERIFY = `
mount -t ext4 /dev/vda /disk
test "$(ls /disk/written | wc -l)" = 40
cd /disk/written
md5sum -s -c ../sums
rm /disk/sums
cd /
umount /disk
`

const TICKS = 40
/** Far more than a tick takes. */
const SILENCE_MS = 1000

let cluster: Cluster
let image: GuestImage
const guests: Guest[] = []

beforeAll(async () => {
  cluster = new Cluster()
  await cluster.up(REPLICAS)
  image = GuestImage.prepare(cluster.path('guest'))
  mkdirSync(cluster.path('files'))
  await cluster.shell("echo 'by mke2fs' > files/packed")
  await makeExt4(cluster.path('disk.raw'), 64 * MIB, cluster.path('files'))
}, 120_000)

afterAll(async () => {
  for (const guest of guests) await guest.kill()
  await cluster.dispose()
}, 120_000)

async function importDisk(name: string): Promise<void> {
  await cluster.cloudfs('import', 'disk.raw', '--name', name, '--replicas', String(REPLICAS))
}

async function boot(volume: string, script: string): Promise<Guest> {
  const { qemu } = JSON.parse(await cluster.cloudfs('attach', volume, '--json')) as { qemu: string[] }
  const guest = await image.boot(volume, script, qemu)
  guests.push(guest)
  return guest
}

/** The longest that the guest was silent, of the ticks around that moment; and how long a tick takes otherwise. */
function pauseOf(guest: Guest, killedAtMs: number): string {
  const ticksMs = Array.from({ length: 24 }, (_, index) =>
    guest.saidAtMs(`guest: tick ${String(index + 1)}.`),
  )
  const gaps = ticksMs.slice(1).map((atMs, index) => ({ atMs, gapMs: atMs - (ticksMs[index] ?? atMs) }))
  const rounded = (each: readonly { gapMs: number }[]): string =>
    Math.max(...each.map(({ gapMs }) => gapMs)).toFixed(0)
  const after = gaps.filter(({ atMs }) => atMs > killedAtMs)
  const longest = rounded(after)
  return `the guest paused for ${longest} ms; before it a tick took ${rounded(gaps.filter((each) => !after.includes(each)))} ms at most`
}

test(
  'what a guest wrote before it was turned off is there when it boots from a branch',
  options,
  async () => {
    await importDisk('vm')
    await (await boot('vm', WRITE)).done()
    const { volume } = await cluster.attach('vm')
    const head = await cluster.equalHeads(volume)

    await cluster.cloudfs('branch', 'vm', '--name', 'copy')
    await (await boot('copy', VERIFY)).done()
    // The branch went its own way.
    expect(await cluster.equalHeads(volume)).toBe(head)
  },
)

test(
  'a guest sees a pause while the engine of its disk is killed and started, and no error',
  options,
  async () => {
    await importDisk('busy')
    const guest = await boot('busy', tickingScript(TICKS))
    await guest.says('guest: tick 12.')
    const before = cluster.first.enginePid
    await cluster.kill(1, 'engine')
    const killedAtMs = performance.now()
    // Nobody starts it but the node's other half.
    await guest.says('guest: tick 24.')
    console.log(`kill -9 of the primary's engine: ${pauseOf(guest, killedAtMs)}`)
    expect((await cluster.reload(1)).enginePid).not.toBe(before)

    // Both halves: nobody starts the engine again.
    await cluster.kill(1)
    const said = (): number => guest.console.match(/guest: tick/g)?.length ?? 0
    // What was on its way when the engine died may still arrive; after that, nothing.
    await delay(SILENCE_MS)
    const silent = said()
    await delay(SILENCE_MS)
    expect(said()).toBe(silent)
    expect(silent).toBeLessThan(TICKS)
    await cluster.startNode(1)
    await guest.done()
    expect(said()).toBe(TICKS)
    // An I/O error would have stopped it: so `attach` has QEMU do.
    expect(guest.events).not.toContain('BLOCK_IO_ERROR')
    expect(guest.events).not.toContain('STOP')
    expect(guest.events).toContain('SHUTDOWN')
    await cluster.equalHeads((await cluster.attach('busy')).volume)
  },
)
