import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CoreEvent, HostId, StoreId } from '@cloudfs/interface'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { StoreHandle } from './store-handle.js'

const identity = { store: StoreId.parse('01'.repeat(20)), host: HostId.parse('02'.repeat(20)) }
const params = { segmentLog2: 16, segmentLimit: 64 }
let directory: string
let path: string
const handles: StoreHandle[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cloudfs-test-'))
  path = join(directory, 'store')
})

afterEach(async () => {
  for (const handle of handles.splice(0)) await handle.close()
  rmSync(directory, { recursive: true })
})

async function formatted(onEvent?: (event: CoreEvent) => void): Promise<StoreHandle> {
  const handle = StoreHandle.create({ path, params, ...(onEvent === undefined ? {} : { onEvent }) })
  handles.push(handle)
  await handle.format(identity)
  return handle
}

test('a store is formatted, answers commands, and tells its figures', async () => {
  const events: string[] = []
  const handle = await formatted(({ name }) => events.push(name))
  expect(events).toContain('ready')
  expect((await handle.command('volumes', {})).result).toEqual([])
  const stats = await handle.stats()
  expect(stats).toMatchObject({ connections: 0, listeners: 0 })
  expect(stats.availableBytes).toBeGreaterThan(0)
})

test('a command that is refused has a code', async () => {
  const handle = await formatted()
  await expect(handle.command('delete', { volume: 'ab'.repeat(20) })).rejects.toMatchObject({
    code: 'ERR_UNKNOWN_VOLUME',
  })
})

test('no store, a locked one and one in the way are each told apart, with errno and syscall', async () => {
  expect(() => StoreHandle.open({ path })).toThrow(
    expect.objectContaining({ code: 'ERR_STORE_NOT_FOUND', errno: 2, syscall: 'open' }),
  )
  const handle = await formatted()
  expect(() => StoreHandle.open({ path })).toThrow(expect.objectContaining({ code: 'ERR_STORE_LOCKED' }))
  await handle.close()
  expect(() => StoreHandle.create({ path })).toThrow(expect.objectContaining({ code: 'ERR_STORE_EXISTS' }))
})

test('it serves a unix socket and a TCP port until told otherwise', async () => {
  const handle = await formatted()
  const socket = join(directory, 'nbd.sock')
  await handle.listenUnix({ path: socket })
  const port = await handle.listenTcp({ host: '127.0.0.1', port: 0 })
  for (const client of [connect(socket), connect(port, '127.0.0.1')]) {
    const greeting = await new Promise<Buffer>((resolve, reject) => {
      client.once('data', resolve).once('error', reject)
    })
    expect(greeting.subarray(0, 8).toString()).toBe('NBDMAGIC')
    client.destroy()
  }
  expect(await handle.unlistenUnix(socket)).toBe(true)
  expect(await handle.unlistenUnix(socket)).toBe(false)
  expect(existsSync(socket)).toBe(false)
  expect(await handle.unlistenTcp({ host: '127.0.0.1', port: 0 })).toBe(true)
})

test('an address in use is refused with its code and cause', async () => {
  const handle = await formatted()
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const { port } = other.address() as { port: number }
  await expect(handle.listenTcp({ host: '127.0.0.1', port })).rejects.toMatchObject({
    code: 'ERR_ADDRESS_IN_USE',
    syscall: 'bind',
  })
  await new Promise((resolve) => other.close(resolve))
})

test('closing rejects what is not answered, and may be done twice', async () => {
  const handle = await formatted()
  const commands = Array.from({ length: 100 }, () => handle.command('volumes', {}))
  const closed = handle.close()
  const outcomes = await Promise.allSettled(commands)
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'ERR_STORE_CLOSED' })
  }
  await closed
  await handle.close()
  await expect(handle.command('volumes', {})).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' })
})
