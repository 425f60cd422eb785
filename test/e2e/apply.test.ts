/**
 * A history that is saved and given to another store. Goal: the copy has the same head and the same blocks; deltas add to
 * it; nothing that was touched on the way is taken. Method: two engines of different hosts, curl, `cloudfs apply`.
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import type { VolumeId } from '@cloudfs/interface'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { EngineHost, nbdUri } from './support/engine-process.js'
import { runTool } from './support/run-tool.js'

const CLOUDFS = new URL('../../packages/cli/bin/cloudfs.js', import.meta.url).pathname
const TIMEOUT_MS = 60_000
const MIB = 1024 * 1024

const source = new EngineHost()
const target = new EngineHost()
let volume: VolumeId
let address: string

beforeAll(async () => {
  await source.format({ size: '128M' })
  await target.format({ size: '128M' })
  await source.start({ args: ['--http=127.0.0.1:0'] })
  await target.start({ args: ['--http=127.0.0.1:0'] })
  address = await addressOf(target)
  volume = await source.createVolume(32 * MIB)
  await qemuIo('write -P 1 0 9M', 'write -P 2 100 1000', 'flush')
}, TIMEOUT_MS)
afterAll(async () => {
  await source.dispose()
  await target.dispose()
})

async function addressOf(engine: EngineHost): Promise<string> {
  return `127.0.0.1:${String((await engine.client.call('http', {})).result.port)}`
}

async function qemuIo(...commands: string[]): Promise<void> {
  const uri = nbdUri(await source.serve(volume))
  await runTool('qemu-io', '-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri)
}

async function save(query: string): Promise<string> {
  const path = source.path('saved')
  const url = `http://${await addressOf(source)}/stream?${query}&until=head`
  await runTool('curl', '--silent', '--show-error', '--fail', '--output', path, url)
  return path
}

/** Exit code, and both outputs. */
async function apply(
  file: string,
  ...args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = execFile(process.execPath, [CLOUDFS, 'apply', ...args])
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (text: string) => (stdout += text))
  child.stderr?.on('data', (text: string) => (stderr += text))
  child.stdin?.on('error', () => undefined)
  child.stdin?.end(readFileSync(file))
  const [code] = (await once(child, 'close')) as [number]
  return { code, stdout, stderr }
}

async function headOf(engine: EngineHost): Promise<string> {
  return (await fetch(`http://${await addressOf(engine)}/heads`)).text()
}

test(
  'a saved history makes a copy with the same head, and a delta brings it on',
  { timeout: TIMEOUT_MS },
  async () => {
    const whole = await save(volume)
    const first = await apply(whole, '--engine', address)
    expect(first).toMatchObject({ code: 0, stdout: await headOf(source) })
    expect(await headOf(target)).toBe(await headOf(source))

    const { lsn } = (await source.client.call('volumes', {})).result[0] ?? { lsn: 0 }
    await qemuIo('write -P 3 20M 1M', 'write -z 0 64k', 'flush')
    const delta = await save(`${volume}&${lsn}`)
    expect(readFileSync(delta).length).toBeLessThan(2 * MIB)
    expect((await apply(delta, '--engine', address)).code).toBe(0)
    expect(await headOf(target)).toBe(await headOf(source))
    // What it has already is passed over.
    expect(await apply(delta, '--engine', address)).toMatchObject({ code: 0, stdout: await headOf(source) })
    const there = nbdUri(await source.serve(volume))
    const { port } = (await target.client.call('listen', { host: '127.0.0.1', port: 0 })).result
    const here = `nbd://127.0.0.1:${port}/replica:${volume}`
    await runTool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', there, here)
  },
)

test('a copy outlives a crash, and goes on while its node is stopped', { timeout: TIMEOUT_MS }, async () => {
  const { lsn } = (await source.client.call('volumes', {})).result[0] ?? { lsn: 0 }
  await target.end('SIGKILL')
  await qemuIo('write -P 4 21M 1M', 'flush')
  const delta = await save(`${volume}&${lsn}`)
  expect(await apply(delta, '--store', target.path('store'))).toMatchObject({
    code: 0,
    stdout: await headOf(source),
  })
  await target.start({ args: ['--http=127.0.0.1:0'] })
  address = await addressOf(target)
  expect(await headOf(target)).toBe(await headOf(source))
})

test('what was touched, is not whole, or is no history is refused', { timeout: TIMEOUT_MS }, async () => {
  const head = await headOf(target)
  const { lsn } = (await source.client.call('volumes', {})).result[0] ?? { lsn: 0 }
  await qemuIo('write -P 5 22M 64k', 'write -P 6 23M 64k', 'flush')
  const good = readFileSync(await save(`${volume}&${lsn}`))
  const file = target.path('bad')
  const refused = async (bytes: Buffer): Promise<string> => {
    writeFileSync(file, bytes)
    const { code, stderr } = await apply(file, '--engine', address)
    expect(code).toBe(1)
    expect(await headOf(target)).toBe(head)
    return /ERR_\w+/.exec(stderr)?.[0] ?? stderr
  }
  const flipped = Buffer.from(good)
  flipped.writeUInt8(flipped.readUInt8(20_000) ^ 1, 20_000)
  expect(await refused(flipped)).toBe('ERR_BLOCK_CORRUPT')
  expect(await refused(Buffer.from('not a history '.repeat(20)))).toBe('ERR_RECORD_CORRUPT')
  // The source leads the volume itself.
  writeFileSync(file, good)
  expect((await apply(file, '--engine', await addressOf(source))).stderr).toMatch(/ERR_IS_(PRIMARY|MEMBER)/)
  // A gap: what came between is not there.
  const { lsn: end } = (await source.client.call('volumes', {})).result[0] ?? { lsn: 0 }
  await qemuIo('write -P 7 24M 64k', 'flush')
  expect(await refused(readFileSync(await save(`${volume}&${end}`)))).toBe('ERR_CHAIN_BROKEN')
  writeFileSync(file, '')
  expect(await apply(file, '--engine', address)).toMatchObject({ code: 0, stdout: '' })
})
