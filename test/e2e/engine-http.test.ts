/** The HTTP port of a real engine process, asked by curl and by sockets that speak something else. */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { VolumeId } from '@cloudfs/interface'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { EngineHost, nbdUri } from './support/engine-process.js'
import { runTool } from './support/run-tool.js'

const engine = new EngineHost()
let identity: { store: string; host: string }
let volume: VolumeId
let port: number
let url: string

beforeAll(async () => {
  const { store, host } = await engine.format({ size: '64M' })
  identity = { store, host }
  await engine.start({ args: ['--http=127.0.0.1:0'] })
  volume = await engine.createVolume(16 * 1024 * 1024)
  port = (await engine.client.call('http', {})).result.port ?? 0
  url = `http://127.0.0.1:${port}`
})

afterAll(async () => {
  await engine.dispose()
})

async function curl(...words: string[]): Promise<string> {
  return (await runTool('curl', '--silent', '--show-error', ...words)).stdout
}

/** Status and error code. */
async function refusal(path: string, init?: RequestInit): Promise<[number, string]> {
  const response = await fetch(`${url}${path}`, init)
  const { code, message } = (await response.json()) as { code: string; message: string }
  expect(message).not.toBe('')
  return [response.status, code]
}

/** What comes back for these bytes, until the engine hangs up. */
async function answerTo(bytes: string | Buffer): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  socket.on('error', () => undefined)
  socket.write(bytes)
  await once(socket, 'close')
  return text
}

test('heads and lsn show each write', async () => {
  expect(await curl(`${url}/heads`)).toBe(`${volume}:${volume}\n`)
  expect(await curl(`${url}/lsn?${volume}`)).toBe('1\n')
  const uri = nbdUri(await engine.serve(volume))
  await runTool('qemu-io', '-f', 'raw', '-c', 'write -P 1 0 4k', '-c', 'flush', uri)
  const head = (await engine.client.call('volumes', {})).result[0]?.version
  expect(head).not.toBe(volume)
  expect(await curl(`${url}/heads`)).toBe(`${volume}:${head}\n`)
  expect(await curl(`${url}/lsn?${volume}`)).toBe('2\n')
})

test('healthz says which stores serve', async () => {
  expect(JSON.parse(await curl('--fail', `${url}/healthz`))).toMatchObject({
    status: 'ok',
    stores: [{ ...identity, state: 'ready' }],
  })
})

test('what is asked wrongly is refused with status, code and reason', async () => {
  expect(await refusal('/lsn?x')).toEqual([400, 'ERR_MALFORMED_ID'])
  expect(await refusal('/lsn')).toEqual([400, 'ERR_MALFORMED_ID'])
  expect(await refusal(`/lsn?${'ab'.repeat(20)}`)).toEqual([404, 'ERR_UNKNOWN_VOLUME'])
  expect(await refusal('/secrets')).toEqual([404, 'ERR_HTTP_PATH'])
  expect(await refusal('/heads', { method: 'PUT', body: 'x'.repeat(1_000_000) })).toEqual([
    405,
    'ERR_HTTP_METHOD',
  ])
})

test('an upgrade to another protocol is refused, and its connection ended', async () => {
  const answer = await answerTo(
    'GET /heads HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  )
  expect(answer).toMatch(/^HTTP\/1\.1 426 /)
  expect(answer).toContain('ERR_HTTP_UPGRADE')
})

test('garbage on the port is refused and harms nobody', async () => {
  expect(await answerTo('NBDMAGIC\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 [^]*ERR_HTTP_MALFORMED/)
  expect(await answerTo(Buffer.alloc(100_000, 0xff))).toMatch(/^HTTP\/1\.1 4|^$/)
  expect(await answerTo(`GET /heads HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`)).toMatch(
    /^HTTP\/1\.1 431 |^$/,
  )
  expect(
    await answerTo('GET /heads HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'),
  ).toMatch(/^HTTP\/1\.1 400 /)
  expect(await curl(`${url}/heads`)).toContain(volume)
})
