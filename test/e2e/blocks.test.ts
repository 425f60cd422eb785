/** `/blocks` of one real engine process: ranges, conditions and bodies, asked by curl and by sockets that say less. */
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { HostId, type VolumeId } from '@cloudfs/interface'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { EngineHost, nbdUri } from './support/engine-process.js'
import { runTool } from './support/run-tool.js'

const MIB = 1024 * 1024
const SIZE_BYTES = 8 * MIB
const engine = new EngineHost()
let volume: VolumeId
let port: number
let url: string
let uri: string
/** What the volume is to hold. */
const model = Buffer.alloc(SIZE_BYTES)

beforeAll(async () => {
  await engine.format({ size: '192M', segmentSize: '4M' })
  await engine.start({ args: ['--http=127.0.0.1:0'] })
  volume = await engine.createVolume(SIZE_BYTES, { name: 'my disk' })
  port = (await engine.client.call('http', {})).result.port ?? 0
  url = `http://127.0.0.1:${String(port)}/blocks`
  uri = nbdUri(await engine.serve(volume))
}, 60_000)

afterAll(async () => {
  await engine.dispose()
})

const file = (name: string, bytes: Buffer): string => {
  writeFileSync(engine.path(name), bytes)
  return engine.path(name)
}

interface Curled {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  readonly uploadedBytes: number
}

/** Runs curl. @param words - its options, without those that say what to print */
async function curl(...words: readonly string[]): Promise<Curled> {
  const [body, head] = [engine.path('body'), engine.path('head')]
  writeFileSync(body, '')
  const print = '%{http_code} %{size_upload}'
  const { stdout } = await runTool('curl', '-sS', '-o', body, '-D', head, '-w', print, ...words)
  const [status, uploaded] = stdout.split(' ').map(Number)
  const last = readFileSync(head, 'latin1').trim().split('\r\n\r\n').at(-1) ?? ''
  const headers = Object.fromEntries(
    last.split('\r\n').flatMap((line) => {
      const at = line.indexOf(': ')
      return at < 0 ? [] : [[line.slice(0, at).toLowerCase(), line.slice(at + 2)]]
    }),
  )
  return { status: status ?? 0, headers, body: readFileSync(body), uploadedBytes: uploaded ?? 0 }
}

const get = (...words: readonly string[]): Promise<Curled> => curl(`${url}?${volume}`, ...words)

/** Writes by curl, and notes what is there now. */
async function put(offset: number, bytes: Buffer, ...words: readonly string[]): Promise<Curled> {
  const range = `Content-Range: bytes ${String(offset)}-${String(offset + bytes.length - 1)}/*`
  const answer = await curl(`${url}?${volume}`, '-T', file('upload', bytes), '-H', range, ...words)
  if (answer.status === 204) bytes.copy(model, offset)
  return answer
}

const codeOf = ({ status, body }: Curled): [number, string] => [
  status,
  (JSON.parse(body.toString()) as { code: string }).code,
]

async function head(): Promise<string> {
  return (await engine.client.call('volumes', {})).result[0]?.version ?? ''
}

async function expectModel(): Promise<void> {
  const { status, body } = await get()
  expect(status).toBe(200)
  expect(createHash('sha256').update(body).digest('hex')).toBe(
    createHash('sha256').update(model).digest('hex'),
  )
}

/** Sends bytes on a socket of its own. @returns it, and what has come back */
function open(...parts: readonly (string | Buffer)[]): { socket: Socket; text: () => string } {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
  socket.on('error', () => undefined)
  for (const part of parts) socket.write(part)
  return { socket, text: () => text }
}

const requestOf = (...lines: readonly string[]): string =>
  `PUT /blocks?${volume} HTTP/1.1\r\nHost: x\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`

test('what curl writes, whole blocks or not, is what curl and qemu-io read', async () => {
  const whole = await curl(`${url}?${volume}`, '-T', file('upload', randomBytes(3 * MIB + 123)))
  expect(whole.status).toBe(204)
  expect(whole.headers['etag']).toBe(`"${await head()}"`)
  readFileSync(engine.path('upload')).copy(model)
  for (const [offset, bytes] of [
    [0, 1],
    [4095, 2],
    [8192, 4096],
    [MIB - 5, 2 * MIB + 11],
    [SIZE_BYTES - 3, 3],
    [5 * MIB + 1, 100],
  ] as const) {
    const answer = await put(offset, randomBytes(bytes))
    expect([answer.status, answer.headers['etag']]).toEqual([204, `"${await head()}"`])
  }
  await expectModel()
  // The original's way to say where.
  await curl(`${url}?${volume}`, '-T', file('upload', Buffer.alloc(100, 7)), '-H', 'Range: bytes=9000-9099')
  model.fill(7, 9000, 9100)
  await expectModel()
  // Zeros too: what was there is gone.
  await put(4096, Buffer.alloc(10_000))
  await runTool('qemu-io', '-f', 'raw', '-c', 'write -P 171 2000 70000', '-c', 'flush', uri)
  model.fill(171, 2000, 72_000)
  await expectModel()
  await runTool('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', uri, engine.path('image'))
  expect(readFileSync(engine.path('image')).equals(model)).toBe(true)
})

test('a range is answered with its bytes and its place, what is beyond with the size', async () => {
  const size = String(SIZE_BYTES)
  for (const [range, first, last] of [
    ['0-0', 0, 0],
    ['5000-1060000', 5000, 1_060_000],
    [`${String(SIZE_BYTES - 10)}-`, SIZE_BYTES - 10, SIZE_BYTES - 1],
    ['-7', SIZE_BYTES - 7, SIZE_BYTES - 1],
    [`100-${String(10 * SIZE_BYTES)}`, 100, SIZE_BYTES - 1],
  ] as const) {
    const { status, headers, body } = await get('-r', range)
    expect([status, headers['content-range']]).toEqual([
      206,
      `bytes ${String(first)}-${String(last)}/${size}`,
    ])
    expect(headers['accept-ranges']).toBe('bytes')
    expect(body.equals(model.subarray(first, last + 1))).toBe(true)
  }
  const beyond = await get('-r', `${size}-`)
  expect([...codeOf(beyond), beyond.headers['content-range']]).toEqual([
    416,
    'ERR_RANGE_UNSATISFIABLE',
    `bytes */${size}`,
  ])
  expect((await get('-r', '0-0,5-5')).status).toBe(200)
  const all = await get('--head')
  expect([all.status, all.headers['content-length'], all.headers['etag']]).toEqual([
    200,
    size,
    `"${await head()}"`,
  ])
})

test('who has the head is told so, and a part is given of the version that If-Range names', async () => {
  const etag = `"${await head()}"`
  const same = await get('-H', `If-None-Match: ${etag}`)
  expect([same.status, same.headers['etag'], same.body.length]).toEqual([304, etag, 0])
  expect((await get('-r', '0-9', '-H', `If-Range: ${etag}`)).status).toBe(206)
  await put(0, Buffer.from('moved'))
  expect((await get('-H', `If-None-Match: ${etag}`)).status).toBe(200)
  expect((await get('-r', '0-9', '-H', `If-Range: ${etag}`)).status).toBe(200)
  expect(codeOf(await get('-H', `If-Match: ${etag}`))).toEqual([412, 'ERR_VERSION_DIFFERS'])
})

test('of conditional writes at once exactly one is done', async () => {
  for (let round = 0; round < 5; round++) {
    const etag = `"${await head()}"`
    const writers = Array.from({ length: 4 }, (_, index) =>
      fetch(`${url}?${volume}`, {
        method: 'PUT',
        headers: {
          'If-Match': etag,
          'Content-Range': `bytes ${String(index * 1000)}-${String(index * 1000 + 999)}/*`,
        },
        body: Buffer.alloc(1000, index + 1),
      }),
    )
    const statuses = (await Promise.all(writers)).map(({ status }) => status)
    expect(statuses.toSorted()).toEqual([204, 412, 412, 412])
    const winner = statuses.indexOf(204)
    model.fill(winner + 1, winner * 1000, winner * 1000 + 1000)
  }
  await expectModel()
  // One after the other, each with what the one before was told.
  let etag = `"${await head()}"`
  for (const byte of [1, 2, 3]) {
    const answer = await put(5000, Buffer.alloc(5000, byte), '-H', `If-Match: ${etag}`)
    expect(answer.status).toBe(204)
    etag = answer.headers['etag'] ?? ''
  }
  await expectModel()
  const long = await put(0, Buffer.alloc(MIB + 1), '-H', `If-Match: ${etag}`)
  expect(codeOf(long)).toEqual([413, 'ERR_UPDATE_TOO_LONG'])
  expect((await put(0, Buffer.alloc(MIB, 5), '-H', `If-Match: ${etag}`)).status).toBe(204)
})

test('a write that is refused is not sent: curl waits to be asked for the body', async () => {
  const before = await head()
  const big = file('upload', randomBytes(3 * MIB))
  const refused = async (query: string, ...words: readonly string[]): Promise<unknown[]> => {
    const answer = await curl(
      `${url}?${query}`,
      '-T',
      big,
      '-H',
      'Expect: 100-continue',
      '--expect100-timeout',
      '60',
      ...words,
    )
    return [...codeOf(answer), answer.uploadedBytes]
  }
  await engine.client.call('snapshot', { volume, name: 'then' })
  const now = await head()
  expect(await refused('nothing')).toEqual([404, 'ERR_UNKNOWN_VOLUME', 0])
  expect(await refused(volume, '-X', 'POST')).toEqual([405, 'ERR_HTTP_METHOD', 0])
  expect(await refused(volume, '-H', 'Content-Range: bytes 0-9/*')).toEqual([400, 'ERR_HTTP_RANGE', 0])
  expect(await refused(volume, '-H', `Range: bytes=${String(SIZE_BYTES - 5)}-`)).toEqual([
    416,
    'ERR_RANGE_UNSATISFIABLE',
    0,
  ])
  expect(await refused(volume, '-H', `If-Match: "${before}"`)).toEqual([412, 'ERR_VERSION_DIFFERS', 0])
  expect(await refused(volume, '-H', `If-Match: "${now}"`)).toEqual([413, 'ERR_UPDATE_TOO_LONG', 0])
  expect(await refused(volume, '-H', 'If-None-Match: *')).toEqual([412, 'ERR_VERSION_DIFFERS', 0])
  expect(await refused(volume, '-H', 'Transfer-Encoding: chunked')).toEqual([411, 'ERR_HTTP_LENGTH', 0])
  expect(await refused(`${volume}@then`)).toEqual([403, 'ERR_READ_ONLY', 0])
  expect(await head()).toBe(now)
  const answer = await curl(
    `${url}?${volume}`,
    '-T',
    big,
    '-H',
    'Expect: 100-continue',
    '--expect100-timeout',
    '60',
  )
  expect([answer.status, answer.uploadedBytes]).toEqual([204, 3 * MIB])
  readFileSync(big).copy(model)
  await expectModel()
})

test('a body nobody asked for is let go, its sender gets the answer', async () => {
  const answer = await curl(`${url}?nothing`, '-T', file('upload', randomBytes(600_000)), '-H', 'Expect:')
  expect(codeOf(answer)).toEqual([404, 'ERR_UNKNOWN_VOLUME'])
  expect(answer.headers['connection']).toBe('close')
})

test('a snapshot and a version are read as they were; by name as by id', async () => {
  await put(0, Buffer.from('as it was'))
  await engine.client.call('snapshot', { volume, name: 'before' })
  const version = await head()
  const then = Buffer.from(model)
  expect((await curl(`${url}?${version}`)).body.equals(then)).toBe(true)
  await put(0, Buffer.from('changed!!'))
  for (const name of [`${volume}@before`, 'my%20disk@before', version]) {
    const { headers, body } = await curl(`${url}?${name}`)
    expect(headers['etag']).toBe(`"${version}"`)
    expect(body.equals(then)).toBe(true)
    expect((await curl(`${url}?${name}`, '-H', `If-None-Match: "${version}"`)).status).toBe(304)
  }
  expect((await curl(`${url}?my%20disk`)).body.equals(model)).toBe(true)
  expect(codeOf(await curl(`${url}?my%20disk@after`))).toEqual([404, 'ERR_UNKNOWN_SNAPSHOT'])
  // A head that moved on, and that nobody kept.
  const { headers } = await put(0, Buffer.from('moving'))
  await put(0, Buffer.from('onward'))
  expect(codeOf(await curl(`${url}?${(headers['etag'] ?? '').slice(1, -1)}`))).toEqual([
    404,
    'ERR_UNKNOWN_VOLUME',
  ])
})

test('a chunked body is written if it is as long as its range', async () => {
  const bytes = randomBytes(2 * MIB + 77)
  const chunked = ['-H', 'Transfer-Encoding: chunked'] as const
  expect((await put(1_000_001, bytes, ...chunked)).status).toBe(204)
  await expectModel()
  // Short and long by a byte. What fits in one piece is written whole or not at all.
  for (const [length, said] of [
    [100, 101],
    [101, 100],
  ] as const) {
    const range = `Content-Range: bytes 0-${String(said - 1)}/*`
    const answer = await curl(
      `${url}?${volume}`,
      '-T',
      file('upload', randomBytes(length)),
      '-H',
      range,
      ...chunked,
    )
    expect(codeOf(answer)).toEqual([400, 'ERR_HTTP_BODY'])
  }
  await expectModel()
  const short = file('upload', Buffer.alloc(2 * MIB + 5, 9))
  const range = `Content-Range: bytes 0-${String(3 * MIB)}/*`
  const answer = await curl(`${url}?${volume}`, '-T', short, '-H', range, ...chunked)
  expect(codeOf(answer)).toEqual([400, 'ERR_HTTP_BODY'])
  expect(answer.body.toString()).toContain(`${String(2 * MIB)} bytes from 0 on are written`)
  model.fill(9, 0, 2 * MIB)
  await expectModel()
})

test('a body that stops before its end is refused where anybody listens, and what was written stays', async () => {
  const lines = [`Content-Length: ${String(3 * MIB)}`]
  const { socket, text } = open(requestOf(...lines), Buffer.alloc(MIB + MIB / 2, 3))
  socket.end()
  await once(socket, 'end')
  expect(text()).toMatch(/^HTTP\/1\.1 400 [^]*ERR_HTTP_BODY[^]*1048576 bytes from 0 on are written/)
  model.fill(3, 0, MIB)
  await expectModel()
  const chunked = ['Transfer-Encoding: chunked', 'Range: bytes=0-99', 'Expect: 100-continue']
  const garbage = open(requestOf(...chunked))
  await once(garbage.socket, 'data')
  garbage.socket.write('zz\r\n')
  await once(garbage.socket, 'end')
  garbage.socket.destroy()
  expect(garbage.text()).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 400 [^]*ERR_HTTP_BODY/)
  await expectModel()
})

test('clients that vanish in mid-write or mid-read leave nothing behind', async () => {
  const upload = file('upload', Buffer.alloc(SIZE_BYTES, 4))
  for (let round = 0; round < 3; round++) {
    const before = await head()
    const slow = spawn('curl', ['-sS', '--limit-rate', '4M', '-T', upload, `${url}?${volume}`])
    const ended = once(slow, 'exit')
    await expect.poll(head, { interval: 5 }).not.toBe(before)
    slow.kill('SIGKILL')
    expect(await ended).toEqual([null, 'SIGKILL'])
  }
  const reader = open(`GET /blocks?${volume} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await once(reader.socket, 'data')
  reader.socket.destroy()
  // Whole pieces, from the front: the rest is as it was.
  const { body } = await get()
  const written = body.findIndex((byte, at) => byte !== 4 && at % MIB === 0)
  body.copy(model)
  expect(written).toBeGreaterThan(0)
  await put(0, randomBytes(3 * MIB))
  await expectModel()
})

test('what reads while NBD clients write sees each block as it was or as it is', async () => {
  const blocks = 2 * MIB
  await put(0, Buffer.alloc(blocks, 1))
  const writes = Array.from({ length: 30 }, (_, index) => [
    '-c',
    `write -P ${String((index % 9) + 1)} 0 2M`,
  ]).flat()
  const writing = runTool('qemu-io', '-f', 'raw', ...writes, uri)
  const state = { isWriting: true }
  const written = writing.finally(() => (state.isWriting = false))
  let reads = 0
  while (state.isWriting || reads === 0) {
    const { status, body } = await get('-r', `0-${String(blocks - 1)}`)
    expect([status, body.length]).toEqual([206, blocks])
    for (let at = 0; at < blocks; at += 4096) {
      const byte = body[at] ?? 0
      if (byte < 1 || byte > 9 || !body.subarray(at, at + 4096).every((each) => each === byte)) {
        throw new Error(`a block at ${String(at)} is torn`)
      }
    }
    reads++
  }
  await written
  model.fill((29 % 9) + 1, 0, blocks)
  await expectModel()
})

const holder = HostId.parse('ab'.repeat(20))

/** What a replicator does when a host attaches the volume, or, with nothing, detaches it. */
async function hold(isShared?: boolean): Promise<void> {
  const [status] = (await engine.client.call('volumes', { volume })).result
  const holders =
    isShared === undefined ? [] : [{ session: 'cd'.repeat(16), host: holder, isShared, socket: '/s' }]
  await engine.client.call('attach', { volume, holders, after: status?.attach.revision ?? 0 })
}

test('a volume that a host has attached for itself is written by nobody else; a shared one is', async () => {
  await hold(false)
  const refused = await put(0, Buffer.alloc(3 * MIB))
  expect(codeOf(refused)).toEqual([409, 'ERR_VOLUME_ATTACHED'])
  expect(refused.body.toString()).toContain(holder)
  await hold(true)
  expect((await put(0, Buffer.alloc(100, 1))).status).toBe(204)
  await hold()
  expect((await put(0, Buffer.alloc(100, 2))).status).toBe(204)
  await expectModel()
})

test('an attachment that is made in the midst of a write ends it at its next piece', async () => {
  const before = await head()
  const { socket, text } = open(requestOf(`Content-Length: ${String(3 * MIB)}`), Buffer.alloc(MIB + 9, 6))
  await expect.poll(head, { interval: 5 }).not.toBe(before)
  await hold(false)
  socket.write(Buffer.alloc(2 * MIB - 9, 6))
  await once(socket, 'end')
  socket.destroy()
  expect(text()).toMatch(/^HTTP\/1\.1 409 [^]*ERR_VOLUME_ATTACHED[^]*1048576 bytes from 0 on are written/)
  await hold()
  model.fill(6, 0, MIB)
  await expectModel()
})

test('past the requests that may be under way others are refused, until one ends', async () => {
  const waiting = Array.from({ length: 32 }, () =>
    open(requestOf('Content-Length: 100', 'Expect: 100-continue')),
  )
  await Promise.all(waiting.map(({ socket }) => once(socket, 'data')))
  const refused = await get('-r', '0-0')
  expect([...codeOf(refused), refused.headers['retry-after']]).toEqual([503, 'ERR_TOO_MANY_REQUESTS', '1'])
  for (const { socket } of waiting) socket.destroy()
  await expect.poll(async () => (await get('-r', '0-0')).status).toBe(206)
  await expectModel()
})

test('what is acknowledged is there after kill -9', async () => {
  await put(123, randomBytes(2 * MIB))
  await engine.end('SIGKILL')
  await engine.start({ args: ['--http=127.0.0.1:0'] })
  port = (await engine.client.call('http', {})).result.port ?? 0
  url = `http://127.0.0.1:${String(port)}/blocks`
  await expectModel()
})
