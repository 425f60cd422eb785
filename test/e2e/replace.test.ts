/**
 * A volume is kept by other hosts. Goal: an operator's word, or a host that is gone for long, moves a replica to another
 * host while clients write; nothing is lost, and who left keeps nothing. Method: nodes of real processes, commanded by the
 * command line; both processes of a node killed by signal.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, PATIENCE } from './support/cluster.js'

const options = { timeout: 120_000 }
/** Of a host that is gone, before its replicas are made anew. */
const REPLACE_AFTER_S = 4
const cluster = new Cluster()
let hosts: string[]

beforeAll(async () => {
  process.env['CLOUDFS_REPLACE_AFTER_SECONDS'] = String(REPLACE_AFTER_S)
  await cluster.up(4, '256M')
  delete process.env['CLOUDFS_REPLACE_AFTER_SECONDS']
  hosts = await Promise.all(
    cluster.nodes.map(async ({ url }) => (await (await fetch(`${url}/id`)).text()).trim()),
  )
}, 120_000)

afterAll(() => cluster.dispose(), 120_000)

interface Volume {
  readonly volume: string
  readonly primary: string
  readonly isServing: boolean
  readonly replicas: readonly { readonly host: string; readonly role: string; readonly state: string }[]
}

const find = async (index: number): Promise<Volume> =>
  JSON.parse(await cluster.at(index, 'info', 'web', '--json')) as Volume

const nodeOf = (host: string): number => hosts.indexOf(host) + 1

const keepers = async (index: number): Promise<number[]> =>
  (await find(index)).replicas.map(({ host }) => nodeOf(host)).sort()

/** The nodes whose engines have something of the volume. */
async function having(volume: string): Promise<number[]> {
  const lists = await Promise.all(
    cluster.nodes.map(async ({ enginePort }) =>
      (await fetch(`http://127.0.0.1:${String(enginePort)}/heads`)).text(),
    ),
  )
  return lists.flatMap((list, at) => (list.includes(volume) ? at + 1 : []))
}

test(
  'an operator replaces a replica while a client writes, and the host that left drops it',
  options,
  async () => {
    const { volume, uri } = await cluster.disk('64M', 'web')
    const io = (...commands: string[]): Promise<string> =>
      cluster.shell(`qemu-io -f raw ${commands.map((each) => `-c '${each}'`).join(' ')} '${uri}'`)
    await io('write -P 7 0 1M', 'flush')
    const before = await keepers(1)
    const [spare] = [1, 2, 3, 4].filter((index) => !before.includes(index))
    const leaves = before.find((index) => index !== 1) ?? 0
    const said = await cluster.at(1, 'replace', 'web', hosts[leaves - 1] ?? '', '--json')
    expect(JSON.parse(said)).toEqual({ volume, leaves: hosts[leaves - 1], joins: hosts[(spare ?? 0) - 1] })
    const now = before
      .filter((index) => index !== leaves)
      .concat(spare ?? 0)
      .sort()
    expect(await keepers(1)).toEqual(now)
    await expect.poll(() => having(volume), PATIENCE).toEqual(now)
    expect(await io('read -P 7 0 1M', 'write -P 8 2M 64k')).not.toContain('failed')
    // One copy more, and back: the host that left has dropped its replica, and this store of it is a member no more.
    await expect(cluster.at(1, 'remove-replica', 'web', hosts[leaves - 1] ?? '')).rejects.toThrow(
      'ERR_NOT_MEMBER',
    )
  },
)

test('a replica whose host is gone is made anew at another', options, async () => {
  const { volume, primary } = await find(1)
  const members = await keepers(1)
  const [spare] = [1, 2, 3, 4].filter((index) => !members.includes(index))
  expect(spare).toBeDefined()
  const victim = members.find((index) => index !== nodeOf(primary) && index !== 1) ?? 0
  await cluster.kill(victim)
  const now = members
    .filter((index) => index !== victim)
    .concat(spare ?? 0)
    .sort()
  await expect.poll(() => keepers(1), PATIENCE).toEqual(now)
  await expect
    .poll(async () => (await find(1)).replicas.map(({ state }) => state), PATIENCE)
    .toEqual(['in-step', 'in-step', 'in-step'])
  expect((await find(1)).volume).toBe(volume)
})
