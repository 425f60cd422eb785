/**
 * Three stores joined by real sockets. Goal: what a client writes at the primary is at every follower, also after a
 * follower, or the primary, ended as by a crash. Method: three StoreHandles in one process, qemu-io as the client.
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { encodeCreate, stampHashOf } from '@cloudfs/format'
import { type CoreEvent, HostId, Stamp, StoreId } from '@cloudfs/interface'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { StoreHandle } from './store-handle.js'

const run = promisify(execFile)
const stamp = Stamp.parse('77'.repeat(32))
const hostOf = (index: number) => HostId.parse(`1${String(index)}`.repeat(20))
const storeOf = (index: number) => StoreId.parse(`a${String(index)}`.repeat(20))

let directory: string
let stores: StoreHandle[]
let server: Server
let volume: string
let volumeCreated: (id: string) => void
let streamEnded: ((detail: unknown) => void) | undefined

const pathOf = (index: number) => join(directory, `store-${String(index)}`)
const nbd = () => join(directory, 'nbd.sock')

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cloudfs-test-'))
  volume = ''
  stores = []
  for (let index = 0; index < 3; index++) {
    const options = { path: pathOf(index), params: { segmentLog2: 20, segmentLimit: 64 }, onEvent }
    const store = StoreHandle.create(options)
    stores.push(store)
    await store.format({ store: storeOf(index), host: hostOf(index) })
  }
  server = createServer({ pauseOnConnect: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})

afterEach(async () => {
  server.close()
  for (const store of stores) await store.close()
  rmSync(directory, { recursive: true })
})

function onEvent({ name, detail }: CoreEvent): void {
  if (name === 'volume-created') volumeCreated((detail as { volume: string }).volume)
  if (name === 'stream-ended') streamEnded?.(detail)
}

function at(index: number): StoreHandle {
  const store = stores[index]
  if (store === undefined) throw new Error('no such store')
  return store
}

/** Gives the socket to the store, as an engine does behind the HTTP upgrade. */
async function adopt(
  index: number,
  socket: Socket,
  end: { role: 'leader'; host: HostId } | { role: 'follower' },
): Promise<void> {
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle
  try {
    await at(index).adoptStream({ fd, volume, ...end })
  } finally {
    socket.destroy()
  }
}

/** @param host - that the primary lets in */
async function follow(index: number, host = hostOf(index)): Promise<void> {
  const { port } = server.address() as AddressInfo
  const accepted = once(server, 'connection') as Promise<[Socket]>
  // Nothing is read here: what the primary says is for the store.
  const socket = connect({ port, host: '127.0.0.1' }).pause()
  await once(socket, 'connect')
  await adopt(0, (await accepted)[0], { role: 'leader', host })
  await adopt(index, socket, { role: 'follower' })
}

async function createVolume(): Promise<void> {
  const named = new Promise<string>((resolve) => {
    volumeCreated = resolve
  })
  const members = [0, 1, 2].map((index) => ({
    host: hostOf(index),
    store: storeOf(index),
    role: 'data' as const,
    slice: new Uint8Array(),
  }))
  const payload = encodeCreate({
    sizeBytes: 16n << 20n,
    mode: 'quorum',
    name: 'disk',
    nonce: new Uint8Array(16),
    view: { stampHash: stampHashOf(stamp), primary: hostOf(0), leaseMs: 500, members },
  })
  const created = at(0).command('create', {
    stamp,
    payload: Buffer.from(payload).toString('hex'),
    epoch: { counter: 1, host: hostOf(0) },
  })
  volume = await named
  await follow(1)
  await follow(2)
  expect((await created).result.volume).toBe(volume)
  await at(0).listenUnix({ path: nbd() }, volume)
}

async function qemuIo(...commands: string[]): Promise<void> {
  const words = commands.flatMap((command) => ['-c', command])
  await run('qemu-io', ['-f', 'raw', ...words, `nbd+unix:///?socket=${nbd()}`])
}

async function headOf(index: number): Promise<string | undefined> {
  const { result } = await at(index).command('volumes', {})
  return result.find((status) => status.volume === volume)?.version
}

async function headsAreEqual(): Promise<void> {
  await vi.waitFor(
    async () => {
      const heads = [await headOf(0), await headOf(1), await headOf(2)]
      expect(heads[0]).toBeDefined()
      expect(heads).toEqual([heads[0], heads[0], heads[0]])
    },
    { timeout: 10_000 },
  )
}

/** Ends the store as a crash would, and starts it anew. */
async function restart(index: number): Promise<void> {
  await at(index).close()
  const store = StoreHandle.open({ path: pathOf(index), onEvent })
  stores[index] = store
  await store.start()
}

test('what a client writes at the primary is at every follower', async () => {
  await createVolume()
  expect(await headOf(0)).toBe(volume)
  await qemuIo('write -P 1 0 1M', 'write -P 2 1000 5000', 'discard 2M 64k', 'flush')
  expect(await headOf(0)).not.toBe(volume)
  await headsAreEqual()
})

test('a stream begins with the preface it was given, and its end is told by its number', async () => {
  await createVolume()
  const answering = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(answering, 'listening')
  const accepted = once(answering, 'connection') as Promise<[Socket]>
  const reader = connect((answering.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = await accepted
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle
  const ended = new Promise<unknown>((resolve) => (streamEnded = resolve))
  const preface = Buffer.from('HELLO\r\n')
  const stream = await at(0).adoptStream({ fd, role: 'leader', host: hostOf(1), volume, preface })
  socket.destroy()
  const [first] = (await once(reader, 'data')) as [Buffer]
  expect(first.subarray(0, 7).toString()).toBe('HELLO\r\n')
  reader.destroy()
  expect(await ended).toEqual({ stream, volume, role: 'leader' })
  answering.close()
})

test('a stream whose hello is not of the host that was let in is refused, and both sides say why', async () => {
  await createVolume()
  const reasons: unknown[] = []
  const refused = new Promise<void>((resolve) => {
    streamEnded = (detail) => {
      const { code, message, role } = detail as { code?: string; message?: string; role: string }
      if (code === undefined) return
      reasons.push({ code, message, role })
      if (reasons.length === 2) resolve()
    }
  })
  await follow(1, hostOf(2))
  await refused
  const reason = { code: 'ERR_TICKET', message: 'the hello names another host than the ticket' }
  expect(reasons).toContainEqual({ ...reason, role: 'leader' })
  expect(reasons).toContainEqual({ ...reason, role: 'follower' })
  // As itself it is let in.
  await follow(1)
  await qemuIo('write -P 1 0 64k', 'flush')
  await headsAreEqual()
})

test('a follower that crashed is brought up while writes go on', async () => {
  await createVolume()
  await qemuIo('write -P 1 0 1M', 'flush')
  await at(2).close()
  await qemuIo('write -P 3 512k 2M', 'flush', 'read -P 1 0 512k', 'read -P 3 512k 2M')
  await restart(2)
  await follow(2)
  await headsAreEqual()
})

test('a primary that crashed has everything it acknowledged, once a majority is there', async () => {
  await createVolume()
  await qemuIo('write -P 5 0 3M', 'write -P 6 1M 4k')
  await restart(0)
  await at(0).listenUnix({ path: nbd() }, volume)
  await follow(1)
  await qemuIo('read -P 5 0 1M', 'read -P 6 1M 4k', 'read -P 5 1028k 1M', 'write -P 7 0 4k', 'flush')
  await follow(2)
  await headsAreEqual()
})
