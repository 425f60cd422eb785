/**
 * A volume's host dies, hangs, or all of them die at once. Goal: without anybody's hands another host leads within about a
 * second, with all that was acknowledged; what has the volume attached is served again; who led before serves nothing old.
 * Method: nodes of real processes, both of each killed or stopped by signal; real NBD clients.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, PATIENCE } from './support/cluster.js'

const options = { timeout: 60_000 }
const cluster = new Cluster()
let hosts: string[]

beforeAll(async () => {
  await cluster.up(3)
  hosts = await Promise.all(
    cluster.nodes.map(async ({ url }) => (await (await fetch(`${url}/id`)).text()).trim()),
  )
}, 120_000)

afterAll(async () => {
  // What a failed test left stopped does not end by itself.
  for (const { index } of cluster.nodes) signal(index, 'SIGCONT')
  await cluster.dispose()
}, 120_000)

interface Volume {
  readonly volume: string
  readonly primary: string
  readonly isServing: boolean
  readonly replicas: readonly { readonly host: string; readonly state: string }[]
  readonly attachments: readonly { readonly host: string }[]
}

async function ask<Answer>(index: number, path: string, body?: object): Promise<Answer> {
  const answer = await fetch(`${cluster.node(index).url}/v1/${path}`, {
    ...(body !== undefined && {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    }),
  })
  if (!answer.ok) throw new Error(await answer.text())
  return (await answer.json()) as Answer
}

const find = (index: number, name: string): Promise<Volume> => ask(index, `volumes/${name}`)

const attach = async (index: number, volume: string, isShared = false): Promise<string> =>
  (await ask<{ uri: string }>(index, 'attachments', { volume, isShared })).uri

const io = (uri: string, ...commands: string[]): Promise<string> =>
  cluster.shell(`qemu-io -f raw ${commands.map((each) => `-c '${each}'`).join(' ')} '${uri}'`)

/** Both processes of a node. */
function signal(index: number, name: NodeJS.Signals): void {
  const { enginePid, replicatorPid } = cluster.node(index)
  for (const pid of [enginePid, replicatorPid]) {
    try {
      if (pid !== undefined) process.kill(pid, name)
    } catch {
      // It has ended.
    }
  }
}

/** The node that leads, as another sees it. */
async function leaderOf(name: string, from: number): Promise<number> {
  let leader = 0
  await expect
    .poll(async () => {
      const { isServing, primary } = await find(from, name)
      leader = isServing ? hosts.indexOf(primary) + 1 : 0
      return leader
    }, PATIENCE)
    .toBeGreaterThan(0)
  return leader
}

async function isWhole(name: string, from: number): Promise<void> {
  await expect
    .poll(async () => {
      const { replicas, isServing } = await find(from, name)
      return [isServing, ...replicas.map(({ state }) => state)]
    }, PATIENCE)
    .toEqual([true, ...hosts.map(() => 'in-step')])
}

/** What a client sees that tries again until it is served; wrong bytes are an error at once. */
async function served(uri: string, ...commands: string[]): Promise<void> {
  await expect
    .poll(async () => {
      try {
        return await io(uri, ...commands)
      } catch (error) {
        const said = String((error as { stdout?: string }).stdout)
        if (said.includes('Pattern verification failed')) throw error
        return said
      }
    }, PATIENCE)
    .toMatch(/(read|wrote) \d+\/\d+ bytes/)
}

test(
  'a host that dies is replaced, with all that was acknowledged, and comes back as a follower',
  options,
  async () => {
    const { volume } = await cluster.disk('64M', 'web')
    await io(await attach(1, 'web'), 'write -P 7 0 1M', 'write -P 8 5M 4k')
    await cluster.kill(1)
    // Asked for while nobody leads: whoever asks waits for who will.
    const uri = await attach(2, 'web')
    await io(uri, 'read -P 7 0 1M', 'read -P 8 5M 4k', 'write -P 9 8M 64k', 'flush')
    const next = await leaderOf('web', 3)
    expect(next).not.toBe(1)
    const { volumes } = await ask<{ volumes: { state: string; text: string }[] }>(2, 'status')
    expect(volumes[0]).toMatchObject({
      state: 'degraded',
      text: expect.stringMatching(`^away: ${hosts[0] ?? ''}`),
    })

    await cluster.startNode(1)
    await isWhole('web', 1)
    expect(await cluster.equalHeads(volume)).toMatch(/^[0-9a-f]{40}$/)
    expect(await leaderOf('web', 1)).toBe(next)
    // Another host has it by now.
    await expect.poll(() => ask(1, 'attachments'), PATIENCE).toEqual([])
    expect((await find(1, 'web')).attachments.map(({ host }) => host)).toEqual([hosts[1]])
    await served(uri, 'read -P 9 8M 64k')
  },
)

test('a host that hangs is replaced, and serves nothing old when it wakes', options, async () => {
  const first = await leaderOf('web', 1)
  const [second = 0, third = 0] = [1, 2, 3].filter((index) => index !== first)
  await cluster.at(2, 'detach', 'web')
  const uris = new Map<number, string>()
  for (const index of [first, second, third]) uris.set(index, await attach(index, 'web', true))
  const at = (index: number): string => uris.get(index) ?? ''
  await io(at(first), 'write -P 11 0 1M', 'flush')
  signal(first, 'SIGSTOP')
  // By way of the new primary, at the sockets that were there.
  await served(at(second), 'read -P 11 0 1M')
  await served(at(second), 'write -P 12 0 1M')
  await served(at(third), 'read -P 12 0 1M')
  expect(await leaderOf('web', second)).not.toBe(first)
  signal(first, 'SIGCONT')
  await served(at(first), 'read -P 12 0 1M')
  await isWhole('web', first)
  for (const index of [1, 2, 3]) await cluster.at(index, 'detach', 'web')
})

test(
  'hosts that die all at once come back, with what was attached at the socket where it was',
  options,
  async () => {
    const uri = await attach(3, 'web')
    await io(uri, 'write -P 21 0 64k')
    const names = ['one', 'two']
    for (const [index, name] of names.entries()) {
      await cluster.cloudfs('newdisk', String(index + 1), '--size', '16M', '--name', name)
      await io(await attach(2, name), 'write -P 22 0 64k')
    }
    for (const index of [1, 2, 3]) signal(index, 'SIGKILL')
    await Promise.all([1, 2, 3].map((index) => cluster.startNode(index)))
    await served(uri, 'read -P 21 0 64k')
    for (const name of names) await served(await attach(2, name), 'read -P 22 0 64k', 'write -P 23 0 64k')
    await isWhole('web', 1)
  },
)

test(
  'a volume of two copies waits for the one that is gone, and goes on by itself when it is back',
  options,
  async () => {
    const holder = await leaderOf('two', 1)
    await cluster.kill(holder)
    const other = (holder % 3) + 1
    await expect
      .poll(async () => {
        const { volumes } = await ask<{ volumes: { name: string; state: string; text: string }[] }>(
          other,
          'status',
        )
        return volumes.find(({ name }) => name === 'two')
      }, PATIENCE)
      .toMatchObject({
        state: 'paused',
        text: `paused: 1 of 2 replicas answer; start ${hosts[holder - 1] ?? ''}`,
      })
    await cluster.startNode(holder)
    await served(await attach(2, 'two'), 'read -P 23 0 64k')
  },
)

test(
  'a volume is handed to another host on request, and is served on where it is attached',
  options,
  async () => {
    const uri = await attach(3, 'web')
    const from = await leaderOf('web', 1)
    for (const to of [(from % 3) + 1, from]) {
      await served(uri, `write -P ${String(30 + to)} 0 64k`)
      await cluster.at(2, 'migrate', 'web', hosts[to - 1] ?? '')
      expect(await leaderOf('web', 2)).toBe(to)
      await served(uri, `read -P ${String(30 + to)} 0 64k`)
    }
    await expect(cluster.at(2, 'migrate', 'web', 'f'.repeat(40))).rejects.toThrow(/ERR_NOT_MEMBER/)
  },
)
