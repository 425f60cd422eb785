/**
 * A member that was away while another left the set. Goal: when it is back it keeps what it has, whatever the host that left,
 * which has dropped its replica and is the only one to ask, says of the volume. Method: nodes of real processes; `kill -9`.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, PATIENCE } from './support/cluster.js'

const MIB = 1024 ** 2
const cluster = new Cluster()

beforeAll(() => cluster.up(4, '256M'), 120_000)
afterAll(() => cluster.dispose(), 120_000)

interface Volume {
  readonly primary: string
  readonly replicas: readonly { readonly host: string }[]
}
interface Node {
  readonly host: string
  readonly state: string
}

test('what a host that left has dropped is no deleted volume', { timeout: 240_000 }, async () => {
  const hosts = await Promise.all(
    cluster.nodes.map(async ({ url }) => (await (await fetch(`${url}/id`)).text()).trim()),
  )
  const nodeOf = (host: string): number => hosts.indexOf(host) + 1
  const { volume, uri } = await cluster.disk('64M', 'web')
  await cluster.equalHeads(volume)
  await cluster.shell(`qemu-io -f raw -c 'write -P 7 0 1M' -c flush '${uri}'`)
  const { primary, replicas } = JSON.parse(await cluster.cloudfs('info', 'web', '--json')) as Volume
  const leads = nodeOf(primary)
  const [away = 0, leaves = 0] = replicas.map(({ host }) => nodeOf(host)).filter((index) => index !== leads)
  const [joins = 0] = [1, 2, 3, 4].filter((index) => ![leads, away, leaves].includes(index))

  await cluster.kill(away)
  await cluster.at(leads, 'replace', 'web', hosts[leaves - 1] ?? '')
  const { enginePort } = cluster.node(leaves)
  const heads = `http://127.0.0.1:${String(enginePort)}/heads`
  await expect.poll(async () => (await fetch(heads)).text(), PATIENCE).not.toContain(volume)
  await Promise.all([cluster.kill(leads), cluster.kill(joins)])
  await cluster.startNode(away)
  await expect
    .poll(async () => {
      const nodes = (await (await fetch(`${cluster.node(away).url}/v1/nodes`)).json()) as Node[]
      return nodes.find(({ host }) => host === hosts[leaves - 1])?.state
    }, PATIENCE)
    .toBe('up')

  await Promise.all([cluster.startNode(leads), cluster.startNode(joins)])
  await cluster.equalHeads(volume)
  const blocks = `http://127.0.0.1:${String(cluster.node(away).enginePort)}/blocks?${volume}`
  const read = async (): Promise<number> => {
    const answer = await fetch(blocks, { headers: { range: `bytes=0-${String(MIB - 1)}` } })
    const bytes = new Uint8Array(await answer.arrayBuffer())
    return bytes.length === MIB ? bytes.filter((byte) => byte === 7).length : 0
  }
  await expect.poll(read, PATIENCE).toBe(MIB)
})
