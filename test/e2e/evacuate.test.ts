/**
 * A host is taken away for good. Goal: an operator has other hosts keep all that it keeps, what it leads and what it only has
 * a replica of, while a client writes; then it is never there again, and nothing is lost. Method: nodes of real processes,
 * commanded by the command line; both processes of the host killed by signal.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, PATIENCE } from './support/cluster.js'

const options = { timeout: 300_000 }
const cluster = new Cluster()
let hosts: string[]

interface Volume {
  readonly volume: string
  readonly primary: string
  readonly replicas: readonly { readonly host: string; readonly role: string; readonly state: string }[]
}

interface Evacuation {
  readonly isLeaving: boolean
  readonly isEmpty: boolean
  readonly volumes: readonly { readonly volume: string }[]
}

beforeAll(async () => {
  await cluster.up(4, '256M')
  hosts = await Promise.all(
    cluster.nodes.map(async ({ url }) => (await (await fetch(`${url}/id`)).text()).trim()),
  )
}, 120_000)

afterAll(() => cluster.dispose(), 120_000)

const info = async (reference: string): Promise<Volume> =>
  JSON.parse(await cluster.cloudfs('info', reference, '--json')) as Volume

const io = (uri: string, ...commands: string[]): Promise<string> =>
  cluster.shell(`qemu-io -f raw ${commands.map((each) => `-c '${each}'`).join(' ')} '${uri}'`)

test(
  'a host is emptied while a client writes, and is stopped for good: everything is there',
  options,
  async () => {
    const web = await cluster.disk('64M', 'web')
    await io(web.uri, 'write -P 7 0 1M', 'flush')
    // One that has a replica of it, and leads another volume.
    const leaver =
      (await info('web')).replicas.map(({ host }) => hosts.indexOf(host) + 1).find((index) => index > 1) ?? 0
    const host = hosts[leaver - 1] ?? ''
    await cluster.at(leaver, 'newdisk', '3', '--size', '64M', '--name', 'led')
    await cluster.at(leaver, 'newdisk', '1', '--size', '64M', '--name', 'alone')
    expect((await info('alone')).primary).toBe(host)
    const { uri } = JSON.parse(await cluster.cloudfs('attach', 'led', '--keep-primary', '--json')) as {
      uri: string
    }
    await io(uri, 'write -P 9 0 1M', 'flush')

    const writing = new AbortController()
    const write = async (): Promise<number> => {
      let count = 0
      for (; !writing.signal.aborted; count++) await io(web.uri, `write -P 8 ${String(2 + (count % 8))}M 64k`)
      return count
    }
    const written = write()
    await cluster.cloudfs('evacuate', host, '--no-wait')
    // Cut short, and said again: it goes on.
    const now = JSON.parse(await cluster.cloudfs('evacuate', host, '--json')) as Evacuation
    expect(now).toMatchObject({ isLeaving: true, isEmpty: true, volumes: [] })
    writing.abort()
    expect(await written).toBeGreaterThan(0)

    // It gets nothing new, not even what is made at it.
    const made = (await cluster.at(leaver, 'newdisk', '3', '--size', '8M', '--name', 'new')).trim()
    expect((await info(made)).replicas.map((each) => each.host)).not.toContain(host)
    await cluster.kill(leaver)
    const others = hosts.filter((each) => each !== host).sort()
    for (const name of ['web', 'led']) {
      await expect
        .poll(async () => (await info(name)).replicas.map(({ state, role }) => `${role} ${state}`), PATIENCE)
        .toEqual(['data in-step', 'data in-step', 'data in-step'])
      expect((await info(name)).replicas.map((each) => each.host).sort()).toEqual(others)
    }
    expect((await info('alone')).replicas).toHaveLength(1)
    expect(others).toContain((await info('alone')).primary)
    expect(await io(web.uri, 'read -P 7 0 1M', 'read -P 8 2M 64k')).not.toContain('failed')
    expect(await io(uri, 'read -P 9 0 1M')).not.toContain('failed')
  },
)

test('where too few hosts are left, nothing is begun', options, async () => {
  const [host = ''] = hosts
  await expect(cluster.cloudfs('evacuate', host)).rejects.toThrow('ERR_TOO_FEW_HOSTS')
  const nodes = JSON.parse(await cluster.cloudfs('nodes', '--json')) as {
    isSelf: boolean
    draining: boolean
  }[]
  expect(nodes.find(({ isSelf }) => isSelf)?.draining).toBe(false)
})
