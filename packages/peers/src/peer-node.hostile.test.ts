/** What a broken or malicious host can do over a connection that it got: nothing to the node, little to others. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { bytesToHex, HostId } from '@cloudfs/interface'
import type { Connection, Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { type Announcement, signAnnouncement } from './announcement.js'
import { encodeFrame, FrameStream, type Message } from './frame.js'
import { Bytes, defineRequest, HostKey, hostIdOf, PEER_LIMITS, type PeerNode } from './index.js'
import { createSwarm, startSwarm, type Swarm } from './swarm.js'
import { coded, info, patience, start, up } from './testing/nodes.js'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const limits = {
  helloTimeoutMs: 30_000,
  requestTimeoutMs: 600,
  requestsFromHostMax: 40,
  // The hostile host answers no pings; being hung up on for that is another test's matter.
  suspectAfterMs: 30_000,
  downAfterMs: 60_000,
}
const key = HostKey.generate()

const Echo = defineRequest('test/echo', Bytes, Bytes)

let node: PeerNode
let friend: PeerNode
let hostile: Swarm
let connection: Connection

beforeEach(async () => {
  node = await start({ limits })
  friend = await start()
  node.handle(Echo, (bytes) => bytes)
  const options = { listen: [], announce: [], mdns: false, dht: false, privateNetworkKey: undefined }
  hostile = await createSwarm({ ...options, key, limits: PEER_LIMITS })
  await startSwarm(hostile, [])
  connection = await hostile.dial(multiaddr(node.addresses[0]))
})

afterEach(async () => {
  await hostile.stop()
})

const open = () => connection.newStream('/cloudfs/request/1')
const encode = (id: number, name: string, message: Message) =>
  encodeFrame({ id, name, body: { message } }, PEER_LIMITS.frameBytesMax)

function announce(changes: Partial<Announcement> = {}, by = key) {
  const publicKey = bytesToHex(by.publicKey)
  return signAnnouncement(
    { ...info, hostId: hostIdOf(by.publicKey), publicKey, addresses: [], revision: 1, ...changes },
    by,
  )
}

/** Asks over a stream by hand. */
async function ask(stream: Stream, frames: FrameStream, id: number, name: string, message: Message) {
  stream.send(encode(id, name, message))
  const frame = await frames.read()
  expect(frame.id).toBe(id)
  return frame.body
}

async function hello(announcement = announce()) {
  const stream = await open()
  const frames = new FrameStream(stream, PEER_LIMITS.frameBytesMax)
  return { stream, frames, body: await ask(stream, frames, 1, 'peers/hello', { announcement }) }
}

/** The node still serves a host that behaves. */
async function expectUnharmed() {
  await friend.connect(node.addresses)
  const bytes = new Uint8Array(randomBytes(1000))
  expect(await friend.request(node.hostId, Echo, bytes)).toEqual(bytes)
}

test('who does not say hello is asked nothing, answered nothing, and cut off in time', async () => {
  await node.close()
  node = await start({ limits: { ...limits, helloTimeoutMs: 2_000 } })
  node.handle(Echo, (bytes) => bytes)
  connection = await hostile.dial(multiaddr(node.addresses[0]))
  const stream = await open()
  const frames = new FrameStream(stream, PEER_LIMITS.frameBytesMax)
  expect(await ask(stream, frames, 1, 'test/echo', new Uint8Array(1))).toEqual({
    error: coded('ERR_PEER_PROTOCOL'),
  })
  if (connection.status === 'open') await once(connection, 'close')
  expect(node.members()).toEqual([])
  await expectUnharmed()
})

test('bytes that are not frames end the stream and nothing else', async () => {
  await hello()
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
      const stream = await open()
      const ended = once(stream, 'close')
      // Behind whatever the bytes began stands a header that nobody sends.
      stream.send(bytes)
      stream.send(new Uint8Array(4 * 1024 * 1024).fill(0xff))
      await ended
    }),
    { numRuns: 30 },
  )
  expect(connection.status).toBe('open')
  await expectUnharmed()
})

test.each<[string, Uint8Array]>([
  ['a frame longer than any may be', Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 1, 0, 0, 0)],
  ['an unknown kind of frame', Uint8Array.of(0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0)],
  ['reserved bytes that are not zero', Uint8Array.of(0, 0, 0, 0, 2, 0, 1, 0, 1, 0, 0, 0)],
  ['a name longer than any may be', Uint8Array.of(0, 0, 0, 0, 2, 255, 0, 0, 1, 0, 0, 0)],
  ['JSON that is none', Uint8Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0x7b)],
  ['an error without a code', Uint8Array.of(2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0x7b, 0x7d)],
])('%s ends the stream', async (_what, bytes) => {
  const stream = await open()
  const ended = once(stream, 'close')
  stream.send(bytes)
  await ended
  await expectUnharmed()
})

describe('after a proper hello', () => {
  test('two requests under one number end the stream', async () => {
    const { stream } = await hello()
    const Wait = defineRequest('test/wait', z.null(), z.null())
    node.handle(Wait, (_request, _caller, signal) => once(signal, 'abort').then(() => null))
    const ended = once(stream, 'close')
    stream.send(encode(2, Wait.name, null))
    stream.send(encode(2, Wait.name, null))
    await ended
    await expectUnharmed()
  })

  test('more requests at once than allowed end the stream and stop their handlers', async () => {
    const { stream } = await hello()
    const Wait = defineRequest('test/wait', z.null(), z.null())
    let running = 0
    node.handle(Wait, async (_request, _caller, signal) => {
      running++
      await once(signal, 'abort')
      running--
      return null
    })
    const ended = once(stream, 'close')
    for (let id = 2; id < 2 + limits.requestsFromHostMax; id++) stream.send(encode(id, Wait.name, null))
    await vi.waitFor(() => {
      expect(running).toBe(limits.requestsFromHostMax)
    }, patience)
    stream.send(encode(1000, Wait.name, null))
    await ended
    await vi.waitFor(() => {
      expect(running).toBe(0)
    }, patience)
    await expectUnharmed()
  })

  test('who does not read its answers loses the stream, and others are served meanwhile', async () => {
    const { stream } = await hello()
    const ended = once(stream, 'close')
    stream.pause()
    const Long = defineRequest('test/long', z.null(), Bytes)
    node.handle(Long, () => new Uint8Array(PEER_LIMITS.frameBytesMax))
    for (let id = 2; id < 2 + limits.requestsFromHostMax; id++) stream.send(encode(id, Long.name, null))
    await expectUnharmed()
    await ended
    await expectUnharmed()
  })

  test('news that it forged about others is not believed', async () => {
    await friend.connect(node.addresses)
    const { stream, frames } = await hello()
    const rejected: unknown[] = []
    node.on('rejected', (error) => rejected.push(error))
    const before = node.member(friend.hostId)
    const revision = Date.now() + 1_000_000
    const forged = [
      // The friend's id and key, without the friend's signature.
      announce({ hostId: friend.hostId, publicKey: bytesToHex(before!.publicKey), revision }),
      // The friend's id, with a key of its own.
      announce({ hostId: friend.hostId, revision }),
      // This node's own.
      announce({ hostId: node.hostId, revision }),
      // A second id for its own key.
      announce({ hostId: HostId.parse('7'.repeat(40)), revision }),
    ]
    expect(await ask(stream, frames, 2, 'peers/exchange', { give: forged })).toEqual({
      message: { give: [], want: [] },
    })
    expect(rejected).toEqual([
      coded('ERR_PEER_PROTOCOL'),
      coded('ERR_HOST_KEY_MISMATCH'),
      coded('ERR_HOST_KEY_MISMATCH'),
      coded('ERR_HOST_KEY_MISMATCH'),
    ])
    expect(node.member(friend.hostId)?.addresses).toEqual(before?.addresses)
    await ask(stream, frames, 3, 'peers/exchange', { give: forged })
    expect(rejected).toHaveLength(4)
    await expectUnharmed()
  })

  test('news of hosts that do not exist is taken up to a bound, and does not push out those that answer', async () => {
    await node.close()
    node = await start({ limits: { ...limits, membersMax: 5 } })
    node.handle(Echo, (bytes) => bytes)
    connection = await hostile.dial(multiaddr(node.addresses[0]))
    await friend.connect(node.addresses)
    const { stream, frames } = await hello()
    const invented = Array.from({ length: 20 }, () => announce({}, HostKey.generate()))
    await ask(stream, frames, 2, 'peers/exchange', { give: invented })
    expect(node.members()).toHaveLength(5)
    await vi.waitFor(() => {
      expect(up(node).map((member) => member.hostId)).toContain(friend.hostId)
    }, patience)
    await expectUnharmed()
  })
})

test('a host that says hello and then hangs is suspect, then down, and hung up on', async () => {
  const other = await start()
  connection = await hostile.dial(multiaddr(other.addresses[0]))
  const states: string[] = []
  for (const state of ['up', 'suspect', 'down'] as const)
    other.on(`member-${state}`, () => states.push(state))
  await hello()
  if (connection.status === 'open') await once(connection, 'close')
  expect(states).toEqual(['up', 'suspect', 'down'])
})

test("another host's announcement is no hello", async () => {
  const { body } = await hello(announce({}, HostKey.generate()))
  expect(body).toEqual({ error: coded('ERR_PEER_PROTOCOL') })
  await expectUnharmed()
})
