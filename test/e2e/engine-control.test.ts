/** The engine process and those who command it: clients that vanish, wrong messages, several stores, locks. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { EngineClient } from '@cloudfs/replicator'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { EngineHost, nbdUri } from './support/engine-process.js'
import { NbdClient } from './support/nbd-client.js'
import { runTool } from './support/run-tool.js'

const MIB = 1024 * 1024
const TIMEOUT_MS = 120_000
const options = { timeout: TIMEOUT_MS }
let host: EngineHost

beforeEach(() => {
  host = new EngineHost()
})
afterEach(() => host.dispose())

test(
  'I/O goes on when every control client vanishes, and commands when they come back',
  options,
  async () => {
    await host.format({ size: '128M' })
    await host.start()
    const volume = await host.createVolume(8 * MIB)
    const client = await NbdClient.connect(await host.serve(volume))
    const socketPath = join(host.run, 'engine.sock')
    const vanishing = connect(socketPath)
    vanishing.write('{"id":1,"verb":"subscribe"}\n{"id":2,"verb":"volu')
    await host.client.close()
    vanishing.destroy()
    for (let i = 0; i < 100; i++) await client.write(i * 4096, Buffer.alloc(4096, i + 1))
    await client.flush()
    expect(await client.read(99 * 4096, 4096)).toEqual(Buffer.alloc(4096, 100))
    client.close()
    const again = await EngineClient.connect({ socketPath })
    expect((await again.call('volumes', {})).result).toMatchObject([{ volume }])
    await again.close()
  },
)

test(
  'a served volume is let go on command, and a bad address is refused with its code',
  options,
  async () => {
    await host.format({ size: '128M' })
    await host.start()
    const volume = await host.createVolume(8 * MIB)
    const socket = await host.serve(volume)
    const client = await NbdClient.connect(socket)
    expect((await host.client.call('unserve', { socket })).result).toEqual({ served: true })
    await expect(client.read(0, 4096)).rejects.toThrow('hung up')
    expect(existsSync(socket)).toBe(false)
    expect((await host.client.call('unserve', { socket })).result).toEqual({ served: false })
    await expect(host.client.call('serve', { volume, socket: '/nonexistent/socket' })).rejects.toMatchObject({
      code: 'ERR_LISTEN',
    })
    await expect(
      host.client.call('serve', { volume, socket: join(host.run, 'engine.sock') }),
    ).rejects.toMatchObject({
      code: 'ERR_ADDRESS_IN_USE',
    })
  },
)

test(
  'one engine serves several stores, and one that is damaged leaves the others alone',
  options,
  async () => {
    const [good, bad] = [
      await host.format({ size: '128M', name: 'a' }),
      await host.format({ size: '128M', name: 'b' }),
    ]
    writeFileSync(join(bad.path, 'superblock'), Buffer.alloc(8192, 0x5a))
    await host.start({ stores: [good.path, bad.path] })
    const { result } = await host.client.call('stores', {})
    expect(result).toMatchObject([
      { path: good.path, store: good.store, state: 'ready' },
      { path: bad.path, state: 'failed', error: { code: 'ERR_STORE_CORRUPT' } },
    ])
    const volume = await host.createVolume(8 * MIB, { store: good.path })
    const client = await NbdClient.connect(await host.serve(volume, good.store))
    await client.write(0, Buffer.alloc(4096, 1))
    client.close()
    await expect(host.client.call('volumes', {}, { store: bad.path })).rejects.toMatchObject({
      code: 'ERR_STORE_NOT_READY',
    })
    await expect(host.client.call('volumes', {}, { store: '/elsewhere' })).rejects.toMatchObject({
      code: 'ERR_UNKNOWN_STORE',
    })
  },
)

test(
  'a store or a run directory in use is refused, and the engine that has it is not disturbed',
  options,
  async () => {
    const { path } = await host.format({ size: '128M' })
    await host.start()
    expect(readFileSync(join(host.run, 'engine.pid'), 'utf8')).toBe(`${host.pid}\n`)
    const engine = new URL('../../packages/engine/bin/cloudfs-engine.js', import.meta.url).pathname
    const second = (run: string) => runTool(process.execPath, engine, `--store=${path}`, `--run=${run}`)
    await expect(second(host.run)).rejects.toThrow('ERR_LOCKED')
    await expect(second(host.path('other-run'))).rejects.toThrow('ERR_STORE_LOCKED')
    await expect(runTool(process.execPath, engine, 'format', `--store=${path}`, '--force')).rejects.toThrow(
      'ERR_STORE_LOCKED',
    )
    expect((await host.client.call('stores', {})).result).toMatchObject([{ state: 'ready' }])
  },
)

test('all exports are at the TCP port, by id and by name', options, async () => {
  await host.format({ size: '128M' })
  await host.start({ args: ['--nbd-port=0'] })
  const port = /"port":(\d+)/.exec(host.log)?.[1] ?? ''
  const volume = await host.createVolume(8 * MIB, { name: 'by-name' })
  for (const name of [volume, 'by-name']) {
    const uri = `nbd://127.0.0.1:${port}/${name}`
    await runTool('qemu-io', '-f', 'raw', '-c', 'write -P 5 0 64k', '-c', 'read -P 5 0 64k', uri)
  }
  const list = JSON.parse(
    (await runTool('nbdinfo', '--list', '--json', `nbd://127.0.0.1:${port}`)).stdout,
  ) as object
  expect(list).toMatchObject({ exports: [{ 'export-size': 8 * MIB }] })
  await expect(runTool('nbdinfo', `nbd://127.0.0.1:${port}/none`)).rejects.toThrow()
  expect(nbdUri('/s')).toBe('nbd+unix:///?socket=/s')
})
