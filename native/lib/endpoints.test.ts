/** What an endpoint makes of whoever is taken for the volume's primary: one that does not speak, or speaks otherwise. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { encodeCreate, stampHashOf } from '@cloudfs/format'
import { type CoreEvent, HostId, Stamp, StoreId, type VolumeId } from '@cloudfs/interface'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { StoreHandle } from './store-handle.js'

const run = promisify(execFile)
const identity = { store: StoreId.parse('01'.repeat(20)), host: HostId.parse('02'.repeat(20)) }
const stamp = Stamp.parse('77'.repeat(32))
const session = '5e'.repeat(16)

let directory: string
let store: StoreHandle
let volume: VolumeId
let server: Server
let events: CoreEvent[]
/** The ends of what connected to `server`. */
let accepted: Socket[]

const nbd = () => join(directory, 'nbd.sock')
const route = async () => (await store.endpoints())[0]?.route

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cloudfs-test-'))
  events = []
  accepted = []
  store = StoreHandle.create({
    path: join(directory, 'store'),
    params: { segmentLog2: 20, segmentLimit: 64 },
    onEvent: (event) => events.push(event),
  })
  await store.format(identity)
  const payload = encodeCreate({
    sizeBytes: BigInt(1024 * 1024),
    mode: 'quorum',
    name: 'disk',
    nonce: new Uint8Array(16),
    view: {
      stampHash: stampHashOf(stamp),
      primary: identity.host,
      leaseMs: 500,
      members: [{ ...identity, role: 'data', slice: new Uint8Array() }],
    },
  })
  const epoch = { counter: 1, host: identity.host }
  const created = await store.command('create', {
    stamp,
    payload: Buffer.from(payload).toString('hex'),
    epoch,
  })
  volume = created.result.volume
  const holders = [{ session, host: identity.host, isShared: false, socket: nbd() }]
  await store.command('attach', { volume, holders, after: 0 })
  server = createServer((socket) => {
    socket.on('error', () => undefined)
    accepted.push(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  await store.openEndpoint({ path: nbd() }, volume, session)
})

afterEach(async () => {
  for (const socket of accepted) socket.destroy()
  server.close()
  await store.close()
  rmSync(directory, { recursive: true })
})

interface TcpHandle {
  readonly fd: number
  reading: boolean
  readStop(): void
}

/** Leads the endpoint to `server`. Node reads nothing from the socket, as an engine sees to. */
async function lead(): Promise<void> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const handle = await new Promise<TcpHandle>((resolve) => {
    socket.once('connect', () => {
      const { _handle } = socket as unknown as { _handle: TcpHandle }
      _handle.readStop()
      _handle.reading = true
      resolve(_handle)
    })
  })
  try {
    await store.routeThere({ fd: handle.fd, volume, session })
  } finally {
    socket.destroy()
  }
}

async function peer(): Promise<Socket> {
  return vi.waitFor(() => {
    const [socket] = accepted
    if (socket === undefined) throw new Error('nobody has connected')
    return socket
  })
}

function greeting(): Buffer {
  const bytes = Buffer.alloc(32)
  bytes.write('CLOUDFSS')
  bytes.writeUInt16LE(1, 8)
  bytes.writeUInt16LE(0xded, 10)
  bytes.writeUInt32LE(1024 * 1024, 12)
  bytes.writeBigUInt64LE(1024n * 1024n, 16)
  return bytes
}

test('whoever hangs up, or greets otherwise, is no route, and the one there was stays', async () => {
  await store.routeHere(volume, session)
  const refused = lead()
  refused.catch(() => undefined)
  ;(await peer()).end()
  await expect(refused).rejects.toMatchObject({ code: 'ERR_STREAM_LOST' })
  accepted.shift()
  const garbage = lead()
  garbage.catch(() => undefined)
  ;(await peer()).write('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n')
  await expect(garbage).rejects.toMatchObject({ code: 'ERR_ROUTE_PROTOCOL' })
  expect(await route()).toBe('here')
  await run('qemu-io', ['-f', 'raw', '-c', 'write -P 7 0 64k', `nbd+unix:///?socket=${nbd()}`])
  expect(events.filter(({ name }) => name === 'route-lost')).toEqual([])
})

test('the route asked for last is the one there is, though an older one greets later', async () => {
  const older = lead()
  older.catch(() => undefined)
  const socket = await peer()
  const closed = new Promise((resolve) => socket.once('close', resolve))
  await store.routeHere(volume, session)
  await expect(older).rejects.toMatchObject({ code: 'ERR_STREAM_LOST' })
  socket.write(greeting())
  socket.resume()
  await closed
  expect(await route()).toBe('here')
})

test('answers to nothing end a route, once; what waited is answered on the next one', async () => {
  const opened = lead()
  const socket = await peer()
  socket.write(greeting())
  await opened
  expect(await route()).toBe('there')
  const asked = once(socket, 'data')
  const uri = `nbd+unix:///?socket=${nbd()}`
  const written = run('qemu-io', ['-f', 'raw', '-c', 'write -P 7 0 64k', '-c', 'read -P 7 0 64k', uri])
  await asked
  socket.write(Buffer.alloc(64, 1))
  await vi.waitFor(() => {
    expect(events.filter(({ name }) => name === 'route-lost').map(({ detail }) => detail)).toMatchObject([
      { volume, session, code: 'ERR_ROUTE_PROTOCOL' },
    ])
  })
  await store.routeHere(volume, session)
  await written
  expect(await store.endEndpoint(volume)).toBe(true)
  expect(await store.endpoints()).toEqual([])
})
