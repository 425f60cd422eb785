/**
 * The history of a volume over plain HTTP. Goal: what curl saves is the committed records, whole, in order, of one chain
 * that ends at the head; a stream that stays open goes on; what is asked wrongly costs nothing. Method: a real engine,
 * curl, and the TypeScript codec as the reader.
 */
import { createWriteStream, readFileSync } from 'node:fs'
import { once } from 'node:events'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { decodeRun, lastLsn, peekRun, type RecordsRun, RUN_HEADER_BYTES } from '@cloudfs/format'
import type { VersionId, VolumeId } from '@cloudfs/interface'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { EngineHost, nbdUri } from './support/engine-process.js'
import { runTool } from './support/run-tool.js'

const TIMEOUT_MS = 60_000
const MIB = 1024 * 1024

const engine = new EngineHost()
let volume: VolumeId
let port: number
let url: string
let uri: string

beforeAll(async () => {
  await engine.format({ size: '128M' })
  await engine.start({ args: ['--http=127.0.0.1:0'] })
  volume = await engine.createVolume(32 * MIB)
  port = (await engine.client.call('http', {})).result.port ?? 0
  url = `http://127.0.0.1:${port}`
  uri = nbdUri(await engine.serve(volume))
  await qemuIo('write -P 1 0 9M', 'write -P 2 100 1000', 'write -z 1M 64k', 'flush')
}, TIMEOUT_MS)
afterAll(() => engine.dispose())

async function qemuIo(...commands: string[]): Promise<void> {
  await runTool('qemu-io', '-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri)
}

async function status() {
  const found = (await engine.client.call('volumes', {})).result[0]
  if (found === undefined) throw new Error('no volume')
  return found
}

async function save(query: string): Promise<RecordsRun[]> {
  const path = engine.path('saved')
  await runTool('curl', '--silent', '--show-error', '--fail', '--output', path, `${url}/stream?${query}`)
  return runsOf(readFileSync(path))
}

/** All runs, each checked by its own checksum. */
function runsOf(bytes: Buffer): RecordsRun[] {
  const runs: RecordsRun[] = []
  for (let at = 0; at < bytes.length;) {
    const { runBytes, bodyBytes } = peekRun(bytes.subarray(at, at + RUN_HEADER_BYTES))
    const run = decodeRun(bytes.subarray(at, at + runBytes))
    if (run.type !== 'records') throw new Error('not a run that travels')
    runs.push(run)
    at += runBytes + bodyBytes
    expect(at).toBeLessThanOrEqual(bytes.length)
  }
  return runs
}

function lsnsAreWhole(runs: readonly RecordsRun[], first: number): void {
  let next = first
  for (const run of runs) {
    expect(run.firstLsn).toBe(next)
    next = lastLsn(run) + 1
  }
}

async function refusal(query: string, init?: RequestInit): Promise<[number, string]> {
  const response = await fetch(`${url}/stream?${query}`, init)
  return [response.status, ((await response.json()) as { code: string }).code]
}

test('a saved stream is the whole history up to the head', { timeout: TIMEOUT_MS }, async () => {
  const runs = await save(`${volume}&until=head`)
  lsnsAreWhole(runs, 1)
  expect(runs[0]?.lastPublic).toBe(volume)
  expect(runs.at(-1)?.lastPublic).toBe((await status()).version)
})

test('a stream begins behind an lsn, a snapshot or the head', { timeout: TIMEOUT_MS }, async () => {
  const before = await status()
  const { version } = (await engine.client.call('snapshot', { volume, name: 'before' })).result
  expect(await save(`${(await status()).version}&until=head`)).toEqual([])
  await qemuIo('write -P 3 2M 8k')
  const delta = await save(`${version}&until=head`)
  const { version: head, lsn } = await status()
  expect(delta.at(-1)?.lastPublic).toBe(head)
  lsnsAreWhole(delta, before.lsn + 1 + 1)
  const byLsn = await save(`${volume}&${lsn - 1}&until=head`)
  expect(byLsn.map(({ lastPublic }) => lastPublic)).toEqual([head])
  expect(await save(`${volume}&${lsn}&until=head`)).toEqual([])
})

test('a stream that stays open brings what comes', { timeout: TIMEOUT_MS }, async () => {
  const { lsn } = await status()
  const aborted = new AbortController()
  const { body } = await fetch(`${url}/stream?${volume}&${lsn}`, { signal: aborted.signal })
  if (body === null) throw new Error('no body')
  const path = engine.path('followed')
  const copied = pipeline(Readable.fromWeb(body), createWriteStream(path)).catch(() => undefined)
  for (const pattern of [7, 8, 9]) {
    await qemuIo(`write -P ${pattern} 3M 4k`)
    const { version } = await status()
    await vi.waitFor(() => {
      expect(runsOf(readFileSync(path)).at(-1)?.lastPublic).toBe(version)
    }, TIMEOUT_MS)
  }
  lsnsAreWhole(runsOf(readFileSync(path)), lsn + 1)
  aborted.abort()
  await copied
})

test('readers that do not read, or go away, hold nothing up', { timeout: TIMEOUT_MS }, async () => {
  const request = `GET /stream?${volume} HTTP/1.1\r\nHost: x\r\n\r\n`
  const sockets = Array.from({ length: 64 }, () => connect(port, '127.0.0.1'))
  for (const socket of sockets) socket.write(request)
  // Each has its answer, of which it reads no more than a buffer holds.
  await Promise.all(sockets.map((socket) => once(socket, 'readable')))
  expect(await refusal(`${volume}&1000000&until=head`)).toEqual([503, 'ERR_TOO_MANY_STREAMS'])
  await qemuIo('write -P 4 0 1M', 'flush')
  for (const socket of sockets) socket.destroy()
  await vi.waitFor(async () => {
    expect((await save(`${volume}&until=head`)).length).toBeGreaterThan(0)
  }, TIMEOUT_MS)
})

test('what is asked wrongly says so', { timeout: TIMEOUT_MS }, async () => {
  const { version } = await status()
  const unknown = '0123456789'.repeat(4) as VersionId
  expect(await refusal('')).toEqual([400, 'ERR_MALFORMED_ID'])
  expect(await refusal(`${volume}&x`)).toEqual([400, 'ERR_HTTP_QUERY'])
  expect(await refusal(`${volume}&1&2`)).toEqual([400, 'ERR_HTTP_QUERY'])
  expect(await refusal(`${version}&1`)).toEqual([400, 'ERR_HTTP_QUERY'])
  expect(await refusal(unknown)).toEqual([404, 'ERR_UNKNOWN_VERSION'])
  expect(await refusal(volume, { method: 'POST' })).toEqual([405, 'ERR_HTTP_METHOD'])
})
