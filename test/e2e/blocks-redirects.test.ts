/**
 * `/blocks` in a cluster: any node takes a request, and sends it to the primary's engine before its body is read; nothing
 * goes round in circles. Three real nodes and real curl; one node holds no replica.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { EngineClient } from '@cloudfs/replicator'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, type ClusterNode } from './support/cluster.js'

const MIB = 1024 * 1024
const SIZE_BYTES = 16 * MIB
const cluster = new Cluster()
let volume: string
let hosts: string[]
let primary: ClusterNode
let replica: ClusterNode
/** It holds nothing. */
let stranger: ClusterNode
const model = Buffer.alloc(SIZE_BYTES)

beforeAll(async () => {
  await cluster.up(3)
  volume = await cluster.cloudfs('newdisk', '2', '--size', '16M', '--name', 'disk')
  hosts = await Promise.all(
    cluster.nodes.map(async ({ url }) => (await (await fetch(`${url}/id`)).text()).trim()),
  )
  const { replicas } = JSON.parse(await cluster.cloudfs('info', 'disk', '--json')) as {
    replicas: { host: string; isPrimary: boolean }[]
  }
  const nodeOf = (host?: string): ClusterNode => cluster.node(hosts.indexOf(host ?? '') + 1)
  primary = nodeOf(replicas.find(({ isPrimary }) => isPrimary)?.host)
  replica = nodeOf(replicas.find(({ isPrimary }) => !isPrimary)?.host)
  stranger = nodeOf(hosts.find((host) => !replicas.some((each) => each.host === host)))
}, 120_000)

afterAll(async () => {
  await cluster.dispose()
}, 120_000)

const at = (port: number, query: string): string => `http://127.0.0.1:${String(port)}/blocks?${query}`

/** @returns what curl prints of the last answer: status, redirects, bytes sent, and the body if it is an error */
async function curl(...words: readonly string[]): Promise<string> {
  const quoted = words.map((word) => `'${word}'`).join(' ')
  return cluster.shell(
    `curl -sS --location-trusted -L -o body -w '%{http_code} %{num_redirects} %{size_upload}' ${quoted}`,
  )
}

const bodyOf = (): Buffer => readFileSync(cluster.path('body'))
const codeOf = (): string => (JSON.parse(bodyOf().toString()) as { code: string }).code

/** Status, and where to. */
async function redirectOf(url: string): Promise<[number, string | null]> {
  const answer = await fetch(url, { redirect: 'manual' })
  await answer.arrayBuffer()
  return [answer.status, answer.headers.get('location')]
}

test('a write and a read reach the primary from every port of every node', { timeout: 60_000 }, async () => {
  let offset = 12_345
  for (const [node, redirects] of [
    [primary, 0],
    [replica, 1],
    [stranger, 1],
  ] as const) {
    for (const [port, count] of [
      [node.enginePort, redirects],
      [node.httpPort, 1],
    ] as const) {
      const bytes = randomBytes(1_500_000)
      writeFileSync(cluster.path('upload'), bytes)
      const range = `Content-Range: bytes ${String(offset)}-${String(offset + bytes.length - 1)}/*`
      expect(await curl('-T', 'upload', '-H', range, at(port, volume))).toBe(
        `204 ${String(count)} ${String(bytes.length)}`,
      )
      bytes.copy(model, offset)
      offset += bytes.length + 1
      expect(await curl(at(port, 'disk'))).toBe(`200 ${String(count)} 0`)
      expect(bodyOf().equals(model)).toBe(true)
    }
  }
  // A short one, which curl sends without being asked.
  writeFileSync(cluster.path('upload'), 'short')
  for (const { enginePort, httpPort } of [replica, stranger]) {
    for (const port of [enginePort, httpPort]) {
      expect(await curl('-T', 'upload', at(port, volume))).toMatch(/^204 1 /)
    }
  }
  model.write('short')
  const uri = await cluster.at(primary.index, 'attach', 'disk')
  await cluster.shell(`qemu-img convert -f raw -O raw '${uri}' image`)
  expect(readFileSync(cluster.path('image')).equals(model)).toBe(true)
})

test('a volume attached anywhere is written by nobody else', { timeout: 60_000 }, async () => {
  const holder = hosts[primary.index - 1] ?? ''
  writeFileSync(cluster.path('upload'), randomBytes(2 * MIB))
  expect(await curl('-T', 'upload', '-H', 'Expect: 100-continue', at(stranger.enginePort, volume))).toBe(
    '409 1 0',
  )
  expect(codeOf()).toBe('ERR_VOLUME_ATTACHED')
  expect(bodyOf().toString()).toContain(holder)
  await cluster.at(primary.index, 'detach', 'disk')
  await cluster.at(stranger.index, 'attach', 'disk', '--shared')
  expect(await curl('-T', 'upload', at(stranger.enginePort, volume))).toMatch(/^204 1 /)
  await cluster.at(stranger.index, 'detach', 'disk')
})

test(
  'snapshots and versions are found from anywhere, and what is nowhere is not',
  { timeout: 60_000 },
  async () => {
    await cluster.cloudfs('snapshot', 'disk', 'then')
    const { snapshots } = JSON.parse(await cluster.cloudfs('info', 'disk', '--json')) as {
      snapshots: { version: string }[]
    }
    const version = snapshots[0]?.version ?? ''
    for (const { enginePort, httpPort } of [replica, stranger]) {
      for (const port of [enginePort, httpPort]) {
        for (const name of ['disk@then', `${volume}@then`, version]) {
          expect(await curl('-r', '0-9', at(port, name))).toBe('206 1 0')
        }
      }
    }
    for (const port of [primary.enginePort, stranger.enginePort, stranger.httpPort]) {
      expect(await curl(at(port, 'nothing'))).toBe('404 0 0')
      expect(codeOf()).toBe('ERR_UNKNOWN_VOLUME')
      expect(await curl(at(port, 'disk@never'))).toBe('404 0 0')
      expect(codeOf()).toBe('ERR_UNKNOWN_SNAPSHOT')
    }
  },
)

test('what was sent on is sent on no further', { timeout: 60_000 }, async () => {
  const away = `http://127.0.0.1:${String(primary.enginePort)}/blocks?${volume}&hop=1`
  for (const { enginePort } of [replica, stranger]) {
    expect(await redirectOf(at(enginePort, volume))).toEqual([307, away])
    const marked = await fetch(at(enginePort, `${volume}&hop=1`), { redirect: 'manual' })
    expect([marked.status, marked.headers.get('retry-after')]).toEqual([503, '1'])
    expect(await marked.json()).toMatchObject({ code: 'ERR_PRIMARY_UNKNOWN' })
  }
  // A replica that is told a wrong primary, its neighbour that holds nothing: two nodes who each take the other for it.
  // Its replicator, which would tell it better, is held meanwhile.
  const { replicatorPid = 0 } = await cluster.reload(replica.index)
  process.kill(replicatorPid, 'SIGSTOP')
  const engine = await EngineClient.connect({
    socketPath: `${replica.directory}/run/engine.sock`,
    onEvent: () => undefined,
  })
  const { result } = await engine.call('follows', {})
  const follow = result.find((each) => each.volume === volume)
  if (follow === undefined) throw new Error('the replica does not follow')
  const address = `127.0.0.1:${String(stranger.enginePort)}`
  const { leader } = follow
  await engine.call('follow', { volume: follow.volume, leader, address, key: '00'.repeat(32) })
  await engine.close()
  expect(await curl(at(replica.enginePort, volume))).toBe('503 1 0')
  expect(codeOf()).toBe('ERR_PRIMARY_UNKNOWN')
  process.kill(replicatorPid, 'SIGCONT')
})

test('while the replicator is away its engine says that it does not know', { timeout: 60_000 }, async () => {
  await cluster.kill(stranger.index, 'replicator')
  expect(await curl(at(stranger.enginePort, volume))).toBe('503 0 0')
  expect(codeOf()).toBe('ERR_PRIMARY_UNKNOWN')
  expect(await curl('-r', '0-9', at(primary.enginePort, volume))).toBe('206 0 0')
})
