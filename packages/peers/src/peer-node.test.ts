import { createServer, connect as connectSocket, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { HostId, StoreId, UnknownVolumeError } from '@cloudfs/interface'
import { describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { Bytes, defineRequest, HostKey, hostIdOf, type PeerNode } from './index.js'
import { coded, info, MemoryBook, patience, start, startCluster, up, volume } from './testing/nodes.js'

// Many nodes share few processors here.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const hostIdsOf = (hosts: readonly { readonly hostId: HostId }[]) => hosts.map((each) => each.hostId).sort()
const hostsUp = (node: PeerNode) => hostIdsOf(up(node))

const Echo = defineRequest('test/echo', Bytes, Bytes)
const Add = defineRequest('test/add', z.object({ a: z.number(), b: z.number() }), z.number())

describe('requests', () => {
  test('3 nodes: each asks each, and each knows who asked', async () => {
    const all = await startCluster(3)
    const Who = defineRequest('test/who', z.null(), z.string())
    for (const node of all) node.handle(Who, (_request, caller) => caller)
    for (const from of all) {
      for (const to of all.filter((node) => node !== from)) {
        expect(await from.request(to.hostId, Who, null)).toBe(from.hostId)
      }
    }
  })

  test('JSON and bytes of every length come through as they are', async () => {
    const [a, b] = (await startCluster(2)) as [PeerNode, PeerNode]
    b.handle(Add, ({ a: x, b: y }) => x + y)
    b.handle(Echo, (bytes) => bytes)
    expect(await a.request(b.hostId, Add, { a: 2, b: 40 })).toBe(42)
    for (const length of [0, 1, 65_536, 262_144, 300_000, 1_048_576]) {
      const bytes = new Uint8Array(randomBytes(length))
      const back = await a.request(b.hostId, Echo, bytes)
      expect(Buffer.compare(back, bytes), `${String(length)} bytes`).toBe(0)
    }
  })

  test('back-pressure: more long messages at once than a connection takes all come through, and none is lost', async () => {
    const [a, b] = (await startCluster(2)) as [PeerNode, PeerNode]
    let most = 0
    let running = 0
    b.handle(Echo, async (bytes) => {
      most = Math.max(most, ++running)
      await new Promise(setImmediate)
      running--
      return bytes
    })
    const messages = Array.from({ length: 64 }, (_, index) => new Uint8Array(700_000).fill(index))
    const answers = await Promise.all(
      messages.map((each) => a.request(b.hostId, Echo, each, { timeoutMs: 60_000 })),
    )
    for (const [index, answer] of answers.entries()) expect(Buffer.compare(answer, messages[index]!)).toBe(0)
    expect(most).toBeLessThanOrEqual(32)
    expect(up(a)).toHaveLength(1)
  })

  test('more requests for one host than its queue holds are refused here, with a code', async () => {
    const limits = { requestsPerHostMax: 2, requestsQueuedPerHostMax: 3 }
    const [a, b] = (await startCluster(2, { limits })) as [PeerNode, PeerNode]
    b.handle(Add, ({ a: x }) => x)
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, (_, index) => a.request(b.hostId, Add, { a: index, b: 0 })),
    )
    expect(results.filter((each) => each.status === 'fulfilled')).toHaveLength(5)
    const refused = results.filter((each) => each.status === 'rejected')
    expect(refused.map((each): unknown => each.reason)).toEqual(
      Array.from({ length: 5 }, () => coded('ERR_PEER_BUSY')),
    )
  })

  test('a host with all hands full says so, and takes the next when it has one free', async () => {
    const seldom = { pingIntervalMs: 60_000, suspectAfterMs: 60_000, downAfterMs: 60_000 }
    const cluster = await startCluster(2, { limits: { ...seldom, handlersMax: 4 } })
    const [a, b] = cluster as [PeerNode, PeerNode]
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => (release = resolve))
    let entered = 0
    b.handle(Add, async () => {
      entered++
      await held
      return 1
    })
    const four = Array.from({ length: 4 }, () => a.request(b.hostId, Add, { a: 0, b: 0 }))
    await vi.waitFor(() => {
      expect(entered).toBe(4)
    }, patience)
    await expect(a.request(b.hostId, Add, { a: 0, b: 0 })).rejects.toThrow(coded('ERR_PEER_BUSY'))
    release()
    expect(await Promise.all(four)).toEqual([1, 1, 1, 1])
    expect(await a.request(b.hostId, Add, { a: 0, b: 0 })).toBe(1)
  })

  test('a host that hangs: the request ends in time, its handler is told, and the next request is served', async () => {
    const [a, b] = (await startCluster(2)) as [PeerNode, PeerNode]
    let stopped: unknown
    let hang = true
    b.handle(Add, async (request, _caller, signal) => {
      if (hang)
        await once(signal, 'abort').finally(() => {
          stopped = signal.reason
        })
      return request.a
    })
    const startMs = performance.now()
    await expect(a.request(b.hostId, Add, { a: 1, b: 1 }, { timeoutMs: 200 })).rejects.toThrow(
      coded('ERR_PEER_TIMEOUT'),
    )
    expect(performance.now() - startMs).toBeLessThan(2_000)
    await vi.waitFor(() => {
      expect(stopped).toBeInstanceOf(Error)
    }, patience)
    hang = false
    expect(await a.request(b.hostId, Add, { a: 7, b: 0 })).toBe(7)
  })

  test('a caller that gives up ends its request with its own reason', async () => {
    const [a, b] = (await startCluster(2)) as [PeerNode, PeerNode]
    b.handle(Add, (_request, _caller, signal) => once(signal, 'abort').then(() => 0))
    const stop = new AbortController()
    const asked = a.request(b.hostId, Add, { a: 0, b: 0 }, { signal: stop.signal })
    stop.abort(new Error('changed my mind'))
    await expect(asked).rejects.toThrow('changed my mind')
  })

  test('errors: coded ones arrive under their code, others stay at home', async () => {
    const [a, b] = (await startCluster(2)) as [PeerNode, PeerNode]
    const bugs: unknown[] = []
    b.removeAllListeners('bug').on('bug', (bug) => bugs.push(bug))
    b.handle(Add, ({ a: what }) => {
      if (what === 0) throw new UnknownVolumeError('no such volume')
      throw new Error('secret path /root')
    })
    await expect(a.request(b.hostId, Add, { a: 0, b: 0 })).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_UNKNOWN_VOLUME', message: `host ${b.hostId}: no such volume` }),
    )
    await expect(a.request(b.hostId, Add, { a: 1, b: 0 })).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_PEER_INTERNAL', message: expect.not.stringContaining('secret') }),
    )
    expect(bugs).toEqual([
      { request: 'test/add', error: expect.objectContaining({ message: 'secret path /root' }) },
    ])
  })

  test('malformed, unknown and oversized requests and answers are coded errors', async () => {
    const [a, b] = (await startCluster(2)) as [PeerNode, PeerNode]
    b.handle(Add, () => 'text' as unknown as number)
    b.handle(Echo, () => new Uint8Array(2_000_000))
    const ask = (kind: Parameters<typeof a.request>[1], message: Parameters<typeof a.request>[2]) =>
      a.request(b.hostId, kind, message)
    const wrong = defineRequest('test/add', z.object({}), z.number())
    await expect(ask(wrong, {})).rejects.toThrow(coded('ERR_PEER_PROTOCOL'))
    await expect(a.request(b.hostId, Add, { a: 0, b: 0 })).rejects.toThrow(coded('ERR_PEER_PROTOCOL'))
    await expect(a.request(b.hostId, Echo, new Uint8Array(2_000_000))).rejects.toThrow(
      coded('ERR_PEER_MESSAGE_TOO_LONG'),
    )
    await expect(a.request(b.hostId, Echo, new Uint8Array(1))).rejects.toThrow(
      coded('ERR_PEER_MESSAGE_TOO_LONG'),
    )
    const none = defineRequest('test/none', z.null(), z.null())
    await expect(a.request(b.hostId, none, null)).rejects.toThrow(coded('ERR_UNKNOWN_REQUEST'))
    await expect(a.request(HostId.parse('9'.repeat(40)), none, null)).rejects.toThrow(
      coded('ERR_UNKNOWN_HOST'),
    )
  })
})

describe('membership', () => {
  test('5 nodes given one bootstrap peer know each other; it stops, and all still find every volume', async () => {
    const all = await startCluster(5)
    for (const [index, node] of all.entries()) node.provide(volume(index))
    const [first, ...rest] = all as [PeerNode, ...PeerNode[]]
    await first.close()
    await vi.waitFor(() => {
      for (const node of rest) {
        expect(node.member(first.hostId)?.state).toBe('down')
        expect(hostsUp(node)).toEqual(hostIdsOf(rest.filter((other) => other !== node)))
      }
    }, patience)
    for (const node of rest) {
      for (const [index, holder] of rest.entries()) {
        expect(await node.findHosts(volume(index + 1))).toEqual([holder.hostId])
      }
      expect(await node.findHosts(volume(0))).toEqual([])
    }
  })

  test('the same by the distributed hash table, before anybody is asked', async () => {
    const all = await startCluster(5, { dht: true, limits: { askAllMax: 0, dhtTimeoutMs: 3_000 } })
    const [first, holder, ...others] = all as [PeerNode, PeerNode, ...PeerNode[]]
    await first.close()
    holder.provide(volume(1))
    for (const node of others) {
      expect(await node.findHosts(volume(1), { timeoutMs: 5_000 })).toEqual([holder.hostId])
    }
    holder.withdraw(volume(1))
    expect(await others[0]!.findHosts(volume(1))).toEqual([])
  })

  test('what a host says of itself reaches all, and so does a change of it', async () => {
    const all = await startCluster(4)
    const [first, second] = all as [PeerNode, PeerNode]
    const stores = [{ storeId: StoreId.parse('c'.repeat(40)), capacityBytes: 1000, freeBytes: 900 }]
    const news = { ...info, zone: 'berlin/rack4', stores, httpPort: 8091, enginePort: 8090, draining: true }
    const changed: string[] = []
    second.on('member-changed', (member) => changed.push(member.info.zone))
    first.update(news)
    await vi.waitFor(() => {
      for (const node of all.slice(1)) expect(node.member(first.hostId)?.info).toEqual(news)
    }, patience)
    expect(changed).toEqual(['berlin/rack4'])
    expect(second.member(first.hostId)?.publicKey).toHaveLength(32)
    expect(() => first.update({ ...info, zone: 'no zone' })).toThrow(coded('ERR_PEER_PROTOCOL'))
  })

  test('a host that goes is suspect, then down; one that comes back with its key and id is up again', async () => {
    const key = HostKey.generate()
    const b = await start()
    const a = await start({ key, bootstrap: b.addresses })
    const states: string[] = []
    for (const state of ['up', 'suspect', 'down'] as const) {
      b.on(`member-${state}`, ({ hostId }) => states.push(`${hostId.slice(0, 4)} ${state}`))
    }
    const short = hostIdOf(key.publicKey).slice(0, 4)
    await vi.waitFor(() => {
      expect(states.at(-1)).toBe(`${short} up`)
    }, patience)
    await a.close()
    // On a busy machine it may have been silent for too long before.
    await vi.waitFor(() => {
      expect(states.slice(-2)).toEqual([`${short} suspect`, `${short} down`])
    }, patience)
    const again = await start({ key, bootstrap: b.addresses })
    expect(again.hostId).toBe(a.hostId)
    await vi.waitFor(() => {
      expect(states.at(-1)).toBe(`${short} up`)
      expect(b.member(a.hostId)?.addresses).toEqual(again.addresses)
    }, patience)
    expect(b.member(a.hostId)?.seenAtMs).toBeGreaterThan(Date.now() - 60_000)
  })

  test('a host whose connection breaks is suspect at once, however long it may be silent', async () => {
    const patient = { suspectAfterMs: 600_000, downAfterMs: 600_000 }
    const b = await start({ limits: patient })
    const a = await start({ bootstrap: b.addresses, limits: patient })
    await vi.waitFor(() => {
      expect(b.member(a.hostId)?.state).toBe('up')
    }, patience)
    await a.close()
    await vi.waitFor(() => {
      expect(b.member(a.hostId)?.state).toBe('suspect')
    }, patience)
  })

  test('a host that stopped finds the others again by its book, without a bootstrap peer', async () => {
    const book = new MemoryBook()
    const key = HostKey.generate()
    const [a, b] = (await startCluster(2)) as [PeerNode, PeerNode]
    const c = await start({ key, book, bootstrap: a.addresses })
    await vi.waitFor(() => {
      expect(up(c)).toHaveLength(2)
    }, patience)
    await c.close()
    const again = await start({ key, book })
    await vi.waitFor(() => {
      expect(hostsUp(again)).toEqual(hostIdsOf([a, b]))
    }, patience)
  })

  test('a bootstrap peer that starts late is found all the same', async () => {
    const reserved = await freePort()
    const address = `/ip4/127.0.0.1/tcp/${String(reserved)}`
    const unreachable = vi.fn()
    const a = await start({ bootstrap: [address] })
    a.on('unreachable', unreachable)
    await vi.waitFor(() => {
      expect(unreachable).toHaveBeenCalledWith(
        expect.objectContaining({ addresses: [address], error: coded('ERR_PEER_UNREACHABLE') }),
      )
    }, patience)
    const b = await start({ listen: [address] })
    await vi.waitFor(() => {
      expect(hostsUp(a)).toEqual([b.hostId])
    }, patience)
  })

  test('hosts of a local network find each other by multicast, those of another cluster do not', async () => {
    const [ours, theirs] = [new Uint8Array(randomBytes(32)), new Uint8Array(randomBytes(32))]
    const a = await start({ mdns: true, privateNetworkKey: ours })
    const other = await start({ mdns: true, privateNetworkKey: theirs })
    const b = await start({ mdns: true, privateNetworkKey: ours })
    await vi.waitFor(() => {
      expect(hostsUp(a)).toEqual([b.hostId])
      expect(hostsUp(b)).toEqual([a.hostId])
    }, patience)
    expect(other.members()).toEqual([])
  })

  test('a host may be given its id', async () => {
    const hostId = HostId.parse('1'.repeat(40))
    const a = await start({ hostId })
    const b = await start({ bootstrap: a.addresses })
    await vi.waitFor(() => {
      expect(hostsUp(b)).toEqual([hostId])
    }, patience)
  })
})

describe('strangers', () => {
  const hostId = HostId.parse('2'.repeat(40))

  test('a known id with another key is refused, told so, and the host that has it is not disturbed', async () => {
    const a = await start()
    const owner = await start({ hostId, bootstrap: a.addresses })
    await vi.waitFor(() => {
      expect(up(a)).toHaveLength(1)
    }, patience)
    const refused = vi.fn()
    a.on('refused', refused)
    const impostor = await start({ hostId })
    await expect(impostor.connect(a.addresses)).rejects.toThrow(coded('ERR_HOST_KEY_MISMATCH'))
    expect(refused).toHaveBeenCalledWith(expect.objectContaining({ error: coded('ERR_HOST_KEY_MISMATCH') }))
    await expect(impostor.connect(owner.addresses)).rejects.toThrow(coded('ERR_HOST_KEY_MISMATCH'))
    expect(a.member(hostId)?.addresses).toEqual(owner.addresses)
    expect(up(a)).toHaveLength(1)
    a.handle(Add, () => 1)
    await expect(impostor.request(a.hostId, Add, { a: 1, b: 1 })).rejects.toThrow()
  })

  test('the binding outlives a restart, and ends when an operator forgets it', async () => {
    const book = new MemoryBook()
    const a = await start({ book })
    const first = await start({ hostId, bootstrap: a.addresses })
    await vi.waitFor(() => {
      expect(up(a)).toHaveLength(1)
    }, patience)
    await Promise.all([a.close(), first.close()])
    const again = await start({ book })
    const second = await start({ hostId })
    await expect(second.connect(again.addresses)).rejects.toThrow(coded('ERR_HOST_KEY_MISMATCH'))
    again.forget(hostId)
    expect(await second.connect(again.addresses)).toBe(again.hostId)
  })

  test('an address that names a key at which another answers is refused', async () => {
    const [a, b] = [await start(), await start()]
    const wrong = a.addresses[0]!.replace(/\/p2p\/.*/, '') + b.addresses[0]!.replace(/.*(?=\/p2p\/)/, '')
    const c = await start()
    await expect(c.connect([wrong])).rejects.toThrow(coded('ERR_HOST_KEY_MISMATCH'))
  })

  test('private networks: the same key connects, another or none is a coded error within seconds', async () => {
    const limits = { dialTimeoutMs: 1_500 }
    const key = (byte: number) => ({ privateNetworkKey: new Uint8Array(32).fill(byte), limits })
    const [a, same, other, none] = await Promise.all([
      start(key(1)),
      start(key(1)),
      start(key(2)),
      start({ limits }),
    ])
    expect(await same.connect(a.addresses)).toBe(a.hostId)
    await Promise.all([
      expect(other.connect(a.addresses)).rejects.toThrow(coded('ERR_PRIVATE_NETWORK_KEY')),
      expect(a.connect(none.addresses)).rejects.toThrow(coded('ERR_PRIVATE_NETWORK_KEY')),
      expect(none.connect(a.addresses)).rejects.toThrow(coded('ERR_PEER_HANDSHAKE')),
    ])
    expect(hostsUp(a)).toEqual([same.hostId])
  })

  test.each([
    ['nothing', ''],
    ['a web request', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['zeros', Buffer.alloc(100_000)],
    ['noise', randomBytes(100_000)],
    ['the start of a libp2p handshake', '\x13/multistream/1.0.0\n\x07/noise\n' + 'x'.repeat(5_000)],
  ])('%s on the port harms nobody', async (_what, garbage) => {
    const a = await start()
    const { port } = new URL(a.addresses[0]!.replace(/.*\/tcp\/(\d+).*/, 'tcp://x:$1'))
    const sockets = await Promise.all(Array.from({ length: 8 }, () => dialSocket(Number(port))))
    for (const socket of sockets) socket.write(garbage)
    const b = await start()
    expect(await b.connect(a.addresses)).toBe(a.hostId)
    for (const socket of sockets) socket.destroy()
  })

  test.each([
    ['silence', ''],
    ['noise', randomBytes(10_000)],
    ['a web server', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
  ])('a port that answers with %s is no host, and that is a coded error', async (_what, answer) => {
    const server = await listen((socket) => socket.write(answer))
    const a = await start({ limits: { dialTimeoutMs: 1_000 } })
    await expect(a.connect([`/ip4/127.0.0.1/tcp/${String(portOf(server))}`])).rejects.toThrow(
      coded('ERR_PEER_HANDSHAKE'),
    )
    server.close()
  })

  test.each(['', '/ip4/127.0.0.1', 'localhost:8092', '/ip4/127.0.0.1/udp/1'])(
    '%j is no address to connect to',
    async (address) => {
      const a = await start()
      await expect(a.connect([address])).rejects.toThrow(coded('ERR_PEER_UNREACHABLE'))
    },
  )
})

describe('a node', () => {
  test('answers from its first moment with what it was prepared to answer', async () => {
    const a = await start()
    const b = await start({
      bootstrap: a.addresses,
      prepare: (node) => {
        node.handle(Add, ({ a: x, b: y }) => x + y)
        node.provide(volume(3))
      },
    })
    await vi.waitFor(() => {
      expect(hostsUp(a)).toEqual([b.hostId])
    }, patience)
    expect(await a.request(b.hostId, Add, { a: 1, b: 2 })).toBe(3)
    expect(await a.findHosts(volume(3))).toEqual([b.hostId])
  })

  test('that cannot listen says so', async () => {
    const server = await listen(() => undefined)
    await expect(start({ listen: [`/ip4/127.0.0.1/tcp/${String(portOf(server))}`] })).rejects.toThrow(
      coded('ERR_PEER_LISTEN'),
    )
    await expect(start({ listen: ['127.0.0.1:80'] })).rejects.toThrow(coded('ERR_PEER_LISTEN'))
    server.close()
  })

  test('closes twice, ends what is under way, and refuses what comes after', async () => {
    const [a, b] = (await startCluster(2)) as [PeerNode, PeerNode]
    b.handle(Add, (_request, _caller, signal) => once(signal, 'abort').then(() => 0))
    const asked = a.request(b.hostId, Add, { a: 0, b: 0 })
    const failed = expect(asked).rejects.toThrow(coded('ERR_PEERS_CLOSED'))
    await Promise.all([a.close(), a.close()])
    await failed
    await a.close()
    await expect(a.request(b.hostId, Add, { a: 0, b: 0 })).rejects.toThrow(coded('ERR_PEERS_CLOSED'))
    await expect(a.findHosts(volume(1))).rejects.toThrow(coded('ERR_PEERS_CLOSED'))
    await expect(a.connect(b.addresses)).rejects.toThrow(coded('ERR_PEERS_CLOSED'))
  })
})

async function listen(onSocket: (socket: Socket) => void): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    onSocket(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

const portOf = (server: Server) => (server.address() as { port: number }).port

async function freePort(): Promise<number> {
  const server = await listen(() => undefined)
  const port = portOf(server)
  server.close()
  await once(server, 'close')
  return port
}

async function dialSocket(port: number): Promise<Socket> {
  const socket = connectSocket(port, '127.0.0.1')
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  return socket
}
