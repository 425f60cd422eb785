/**
 * A disk of three replicas on three nodes of real processes, under real clients: what is killed comes back without a failed
 * I/O, and only what it missed travels.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, type Disk, PATIENCE } from './support/cluster.js'

const cluster = new Cluster()
let disk: Disk

beforeAll(async () => {
  await cluster.up(3)
  disk = await cluster.disk('64M', 'web')
}, 120_000)

afterAll(async () => {
  await cluster.dispose()
}, 120_000)

interface Status {
  readonly volumes: readonly { readonly volume: string; readonly state: string; readonly text: string }[]
}

async function healthOf(volume: string): Promise<{ state: string; text: string } | undefined> {
  const { volumes } = (await (await fetch(`${cluster.first.url}/v1/status`)).json()) as Status
  return volumes.find((each) => each.volume === volume)
}

async function isWell(volume: string): Promise<void> {
  await expect.poll(async () => (await healthOf(volume))?.state, PATIENCE).toBe('ok')
}

/** Writes and verifies as long as `act` takes, and some seconds more. @returns its errors, by fio's count */
async function fioWhile(act: () => Promise<void>): Promise<number> {
  const fio =
    `fio --name=verify --ioengine=nbd --uri='${disk.uri}' --rw=randwrite --bs=4k --iodepth=8 --size=32M --io_size=1G ` +
    '--time_based --runtime=3 --verify=crc32c --verify_fatal=1 --output-format=json --eta=never'
  let isOver = false
  const acting = act().finally(() => (isOver = true))
  acting.catch(() => undefined)
  let errors = 0
  do {
    const result = JSON.parse((await cluster.shell(fio)).replace(/^[^{]*/, '')) as {
      jobs: { error: number }[]
    }
    for (const { error } of result.jobs) errors += error
  } while (!isOver)
  await acting
  return errors
}

test(
  'newdisk 3 makes three equal replicas that any node lists and finds well',
  { timeout: 60_000 },
  async () => {
    expect(await cluster.equalHeads(disk.volume)).toMatch(/^[0-9a-f]{40}$/)
    await isWell(disk.volume)
    for (const { index } of cluster.nodes) {
      expect(await cluster.at(index, 'ls')).toMatch(new RegExp(`${disk.volume} .* quorum +3 `))
      expect(await cluster.at(index, 'info', 'web')).toMatch(/(replica +[0-9a-f]{40} in-step\n.*){2}/s)
    }
  },
)

test(
  'a replica that is killed under a verified load costs no I/O, is told away, and catches up',
  { timeout: 90_000 },
  async () => {
    const errors = await fioWhile(async () => {
      await cluster.kill(3)
      await expect
        .poll(async () => (await healthOf(disk.volume))?.text, PATIENCE)
        .toMatch(/^away: [0-9a-f]{40} by .*iB; it catches up once that node is started$/)
      await expect(cluster.cloudfs('status')).rejects.toMatchObject({ code: 1 })
      await cluster.startNode(3)
    })
    expect(errors).toBe(0)
    await cluster.equalHeads(disk.volume)
    await isWell(disk.volume)
  },
)

test(
  'killing the replicators of all nodes under a verified load costs no I/O',
  { timeout: 90_000 },
  async () => {
    const errors = await fioWhile(async () => {
      await Promise.all([1, 2, 3].map((index) => cluster.kill(index, 'replicator')))
      await Promise.all([1, 2, 3].map((index) => cluster.startNode(index)))
    })
    expect(errors).toBe(0)
    await cluster.equalHeads(disk.volume)
    await isWell(disk.volume)
  },
)

test(
  'a killed engine of the primary comes back with all that was acknowledged',
  { timeout: 60_000 },
  async () => {
    await cluster.shell(`qemu-io -f raw -c 'write -P 7 0 1M' '${disk.uri}'`)
    await cluster.kill(1, 'engine')
    await expect
      .poll(() => cluster.shell(`qemu-io -f raw -c 'read -P 7 0 1M' '${disk.uri}'`).catch(() => ''), PATIENCE)
      .toMatch(/read 1048576\/1048576/)
    await cluster.equalHeads(disk.volume)
    await isWell(disk.volume)
  },
)

test('more replicas than hosts are refused with what to do', async () => {
  await expect(cluster.cloudfs('newdisk', '5')).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /ERR_TOO_FEW_HOSTS: 5 replicas wanted, but 3 hosts can take one: start 2 more nodes/,
    ),
  })
})

test('two replicas are made, and what two means is told', { timeout: 60_000 }, async () => {
  const text = await cluster.shell('cloudfs newdisk 2 --size 16M --name pair 2>&1')
  expect(text).toMatch(
    /primary [0-9a-f]{40}\nreplica [0-9a-f]{40} in step\n.*two copies: a majority of two is both/s,
  )
  await cluster.cloudfs('deletedisk', 'pair')
})
