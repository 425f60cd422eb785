/** What people and programs ask wrong of a running node: each is refused with its code, and the node goes on. */
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster } from './support/cluster.js'

const options = { timeout: 60_000 }
const NOBODY = 'f'.repeat(40)

let cluster: Cluster
let volume: string
beforeAll(async () => {
  cluster = await new Cluster().up(1)
  volume = await cluster.cloudfs('newdisk', '1', '--size', '8M', '--name', 'twin')
  await cluster.cloudfs('newdisk', '1', '--size', '8M', '--name', 'twin')
}, 120_000)
afterAll(async () => {
  await cluster.dispose()
}, 60_000)

test.each([
  ['a volume that is not there', ['info', NOBODY], 1, 'ERR_UNKNOWN_VOLUME'],
  ['a name that two volumes have', ['info', 'twin'], 1, 'ERR_AMBIGUOUS_NAME'],
  ['a version that is not there', ['branch', NOBODY], 1, 'ERR_UNKNOWN'],
  ['more replicas than hosts', ['newdisk', '3'], 1, 'ERR_TOO_FEW_HOSTS'],
  ['a size that is none', ['newdisk', '1', '--size', 'much'], 1, 'ERR_MALFORMED_QUANTITY'],
  ['a volume that is not attached', ['detach', NOBODY], 1, 'ERR_'],
  ['a command that is none', ['newdsk'], 2, 'newdisk'],
])('%s is refused with its code', options, async (_, args, code, name) => {
  await expect(cluster.cloudfs(...args)).rejects.toMatchObject({
    code,
    stderr: expect.stringContaining(name),
  })
})

test('a wrong key of the configuration is named, with the nearest right one', options, async () => {
  writeFileSync(cluster.path('config.json'), '{ "storeSise": "1G" }')
  await expect(cluster.cloudfs('replicator', '--config', 'config.json')).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/ERR_CONFIG.*storeSise.*storeSize/),
  })
})

test('a second replicator in the directory of the first is refused', options, async () => {
  const ports = ['--http-port=0', '--engine-http-port=0', '--peer-port=0', '--nbd-port=0']
  const directory = `--directory=${cluster.first.directory}`
  await expect(cluster.cloudfs('replicator', directory, ...ports)).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining('ERR_NODE_RUNNING'),
  })
})

test('requests that are malformed are answered with a status and a code', options, async () => {
  const { url } = cluster.first
  const post = (path: string, body: string): Promise<Response> =>
    fetch(`${url}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  const answers = await Promise.all([
    post('/v1/volumes', '{'),
    post('/v1/volumes', '{"replicas":99}'),
    post('/v1/volumes', '{"sizeBytes":4097}'),
    post('/v1/volumes', '{"unknown":1}'),
    post('/v1/attachments', '{"volume":""}'),
  ])
  for (const answer of answers) {
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({ code: expect.stringMatching(/^ERR_/) })
  }
  expect((await fetch(`${url}/v1/nothing`)).status).toBe(404)
})

test('garbage at every port harms nobody', options, async () => {
  const { httpPort, enginePort, peerPort, nbdPort } = cluster.first
  const garbage = [randomBytes(50_000), Buffer.from('GET / HTTP/9.9\r\n\r\n'), Buffer.alloc(50_000, 0x0a)]
  const places = [httpPort, enginePort, peerPort, nbdPort]
  await Promise.all(places.flatMap((port) => garbage.map((bytes) => throwAt(port, bytes))))
  expect(await cluster.cloudfs('info', volume)).toContain(volume)
  expect((await fetch(`http://127.0.0.1:${String(enginePort)}/heads`)).status).toBe(200)
})

/** Sends bytes and waits until the other side has had enough, or a quarter of a second has passed. */
function throwAt(port: number, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.setTimeout(250, () => socket.destroy())
    socket
      .on('error', () => undefined)
      .on('close', () => {
        resolve()
      })
    socket.resume()
    socket.write(bytes)
  })
}
