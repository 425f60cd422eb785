import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ENGINE_MESSAGE_BYTES_MAX, UnknownStoreError } from '@cloudfs/interface'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ControlServer, type Handler } from './control-server.js'

const log = pino({ level: 'silent' })
let directory: string
let socketPath: string
let server: ControlServer | undefined
const sockets: Socket[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cloudfs-test-'))
  socketPath = join(directory, 'engine.sock')
})

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await server?.close()
  server = undefined
  rmSync(directory, { recursive: true })
})

const echo: Handler = ({ verb, args, payload }) =>
  Promise.resolve({ result: { verb, args }, ...(payload === undefined ? {} : { payload }) })

async function listen(handler: Handler = echo): Promise<void> {
  server = await ControlServer.listen({ socketPath, handler, log })
}

/** A client that sees messages one by one. */
class TestClient {
  readonly closed: Promise<void>
  readonly #socket = connect(socketPath)
  readonly #lines: string[] = []
  #text = ''
  #waiting: ((line: string) => void) | undefined

  constructor() {
    sockets.push(this.#socket)
    this.closed = new Promise((resolve) => this.#socket.on('close', () => resolve()))
    this.#socket.on('error', () => undefined)
    this.#socket.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.#text + text).split('\n')
      this.#text = lines.pop() ?? ''
      for (const line of lines) {
        if (this.#waiting === undefined) this.#lines.push(line)
        else this.#waiting(line)
        this.#waiting = undefined
      }
    })
  }

  send(...messages: (object | string)[]): void {
    for (const message of messages) {
      this.#socket.write(`${typeof message === 'string' ? message : JSON.stringify(message)}\n`)
    }
  }

  async next(): Promise<unknown> {
    const line = this.#lines.shift() ?? (await new Promise<string>((resolve) => (this.#waiting = resolve)))
    return JSON.parse(line)
  }

  vanish(): void {
    this.#socket.destroy()
  }
}

test('requests are answered by id, whatever the order in which they are done', async () => {
  const release: (() => void)[] = []
  await listen(async (request) => {
    if (request.id === 1) await new Promise<void>((resolve) => release.push(resolve))
    else release[0]?.()
    return { result: request.id * 10 }
  })
  const client = new TestClient()
  client.send({ id: 1, verb: 'stores' }, { id: 2, verb: 'stores' })
  const answers = [await client.next(), await client.next()]
  expect(answers).toContainEqual({ id: 1, result: 10 })
  expect(answers).toContainEqual({ id: 2, result: 20 })
})

test('arguments are checked before anything acts on them', async () => {
  await listen(() => Promise.reject(new Error('not reached')))
  const client = new TestClient()
  const volume = 'ab'.repeat(20)
  const wrong = [
    'no JSON',
    { id: 2 },
    { id: 3, verb: 'explode' },
    { id: 4, verb: 'serve', args: { volume, socket: 'relative' } },
    { id: 5, verb: 'serve', args: { volume: 'x', socket: '/s' } },
    { id: 6, verb: 'resize', args: { volume, sizeBytes: -1 } },
    { id: 7, verb: 'stores', args: { more: 1 } },
    { id: 8, verb: 'stores', extra: 1 },
    { id: 9, verb: 'constructor' },
  ]
  client.send(...wrong)
  const answers: unknown[] = []
  for (let i = 0; i < wrong.length; i++) answers.push(await client.next())
  const codes = answers.map((answer) => answer as { id: number | null; error: { code: string } })
  expect(codes.map(({ id, error }) => [id, error.code])).toEqual([
    [null, 'ERR_MALFORMED_MESSAGE'],
    [2, 'ERR_MALFORMED_MESSAGE'],
    [3, 'ERR_UNKNOWN_VERB'],
    [4, 'ERR_MALFORMED_MESSAGE'],
    [5, 'ERR_MALFORMED_MESSAGE'],
    [6, 'ERR_MALFORMED_MESSAGE'],
    [7, 'ERR_MALFORMED_MESSAGE'],
    [8, 'ERR_MALFORMED_MESSAGE'],
    [9, 'ERR_UNKNOWN_VERB'],
  ])
})

test('an error travels with its code; one without a code is called internal', async () => {
  await listen(({ id }) =>
    Promise.reject(id === 1 ? new UnknownStoreError('no such store') : new TypeError('a bug')),
  )
  const client = new TestClient()
  client.send({ id: 1, verb: 'stores' })
  expect(await client.next()).toEqual({
    id: 1,
    error: { code: 'ERR_UNKNOWN_STORE', message: 'no such store' },
  })
  client.send({ id: 2, verb: 'stores' })
  expect(await client.next()).toEqual({ id: 2, error: { code: 'ERR_INTERNAL', message: 'a bug' } })
})

test('payloads travel both ways', async () => {
  await listen()
  const client = new TestClient()
  const payload = Buffer.from([0, 1, 255]).toString('base64')
  client.send({ id: 1, verb: 'checkpoint', payload })
  expect(await client.next()).toMatchObject({ id: 1, payload })
})

test('events go to those who asked for them', async () => {
  await listen()
  const [deaf, listening] = [new TestClient(), new TestClient()]
  listening.send({ id: 1, verb: 'subscribe' })
  await listening.next()
  const event = { event: 'ready', store: '/s', detail: {} }
  server?.publish(event)
  expect(await listening.next()).toEqual(event)
  deaf.send({ id: 2, verb: 'stores' })
  expect(await deaf.next()).toMatchObject({ id: 2 })
})

test('a client that vanishes in the middle of a request harms nobody', async () => {
  const release: (() => void)[] = []
  await listen(async () => {
    await new Promise<void>((resolve) => release.push(resolve))
    return { result: 'late' }
  })
  const first = new TestClient()
  first.send({ id: 1, verb: 'stores' })
  const second = new TestClient()
  second.send({ id: 2, verb: 'stores' })
  await expect.poll(() => release.length).toBe(2)
  first.vanish()
  await first.closed
  for (const each of release) each()
  expect(await second.next()).toEqual({ id: 2, result: 'late' })
})

test('a message that is too long ends its client, and only that one', async () => {
  await listen()
  const [long, other] = [new TestClient(), new TestClient()]
  long.send('x'.repeat(ENGINE_MESSAGE_BYTES_MAX))
  expect(await long.next()).toMatchObject({ id: null, error: { code: 'ERR_MESSAGE_TOO_LONG' } })
  await long.closed
  other.send({ id: 1, verb: 'stores' })
  expect(await other.next()).toMatchObject({ id: 1 })
})

test('the socket is for its owner alone, takes over a stale file, and leaves one in use or a plain file be', async () => {
  await listen()
  expect(statSync(socketPath).mode & 0o777).toBe(0o600)
  await expect(ControlServer.listen({ socketPath, handler: echo, log })).rejects.toMatchObject({
    code: 'EADDRINUSE',
  })
  const client = new TestClient()
  client.send({ id: 1, verb: 'stores' })
  expect(await client.next()).toMatchObject({ id: 1 })
  const plain = join(directory, 'plain')
  writeFileSync(plain, 'mine')
  await expect(ControlServer.listen({ socketPath: plain, handler: echo, log })).rejects.toMatchObject({
    code: 'EADDRINUSE',
  })
  expect(statSync(plain).size).toBe(4)
})

test('closing lets clients go and frees the path', async () => {
  await listen()
  const client = new TestClient()
  client.send({ id: 1, verb: 'stores' })
  await client.next()
  await server?.close()
  server = undefined
  await client.closed
  const again = createServer()
  await new Promise<void>((resolve) => again.listen(socketPath, resolve))
  await new Promise((resolve) => again.close(resolve))
})
