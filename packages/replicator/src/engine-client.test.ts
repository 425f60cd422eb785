import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EngineEvent } from '@cloudfs/interface'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { EngineClient } from './engine-client.js'

let directory: string
let socketPath: string
let server: Server
let client: EngineClient | undefined
/** What the other side does with each line. */
let onLine: (line: string, socket: Socket) => void

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cloudfs-test-'))
  socketPath = join(directory, 'engine.sock')
  server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.split('\n').slice(0, -1)) onLine(line, socket)
    })
  })
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
})

afterEach(async () => {
  await client?.close()
  await new Promise((resolve) => server.close(resolve))
  rmSync(directory, { recursive: true })
})

const idOf = (line: string): number => (JSON.parse(line) as { id: number }).id

test('answers reach their calls in any order, with their bytes', async () => {
  const lines: string[] = []
  onLine = (line, socket) => {
    if (lines.push(line) < 2) return
    const [first, second] = lines.map(idOf)
    socket.write(`{"id":${second},"result":2,"payload":"AAH/"}\n{"id":${first},"result":1}\n`)
  }
  client = await EngineClient.connect({ socketPath })
  const calls = [client.call('stores', {}), client.call('checkpoint', {}, { store: '/s' })]
  expect(await Promise.all(calls)).toEqual([
    { result: 1, payload: Buffer.alloc(0) },
    { result: 2, payload: Buffer.from([0, 1, 255]) },
  ])
  expect(JSON.parse(lines[1]!)).toMatchObject({ verb: 'checkpoint', store: '/s' })
})

test('an error has the code that the engine gave it', async () => {
  onLine = (line, socket) =>
    socket.write(`{"id":${idOf(line)},"error":{"code":"ERR_LISTEN","message":"no","errno":13}}\n`)
  client = await EngineClient.connect({ socketPath })
  await expect(client.call('stores', {})).rejects.toMatchObject({
    code: 'ERR_LISTEN',
    details: { errno: 13 },
  })
})

test('events are handed on', async () => {
  const events: EngineEvent[] = []
  onLine = (line, socket) =>
    socket.write(`{"event":"ready","store":"/s","detail":{}}\n{"id":${idOf(line)},"result":{}}\n`)
  client = await EngineClient.connect({ socketPath, onEvent: (event) => events.push(event) })
  await client.call('subscribe', {})
  expect(events).toEqual([{ event: 'ready', store: '/s', detail: {} }])
})

test('an engine that goes away rejects what waits, and what comes later', async () => {
  onLine = (_line, socket) => socket.destroy()
  client = await EngineClient.connect({ socketPath })
  await expect(client.call('stores', {})).rejects.toMatchObject({ code: 'ERR_ENGINE_GONE' })
  await client.closed
  await expect(client.call('stores', {})).rejects.toMatchObject({ code: 'ERR_ENGINE_GONE' })
})

test('something that is no engine is hung up on', async () => {
  onLine = (_line, socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')
  client = await EngineClient.connect({ socketPath })
  await expect(client.call('stores', {})).rejects.toMatchObject({ code: 'ERR_ENGINE_GONE' })
})
