/** What the world does wrong: garbage at every socket, a file system without space, bytes that rot on the disk. */
import { randomBytes, randomInt } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, type NetConnectOpts } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { EngineHost, nbdUri } from './support/engine-process.js'
import { NbdClient } from './support/nbd-client.js'
import { runTool } from './support/run-tool.js'

const MIB = 1024 * 1024
const options = { timeout: 180_000 }
let host: EngineHost

beforeEach(() => {
  host = new EngineHost()
})
afterEach(() => host.dispose())

/** Sends bytes and waits until the other side has had enough, or a quarter of a second has passed. */
function throwAt(where: NetConnectOpts, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(where)
    socket.setTimeout(250, () => socket.destroy())
    socket.on('error', () => undefined).on('close', () => resolve())
    socket.resume()
    socket.write(bytes)
  })
}

test('garbage at the NBD sockets, the NBD port and the control socket harms nobody', options, async () => {
  await host.format({ size: '128M' })
  await host.start({ args: ['--nbd-port=0'] })
  const port = Number(/"port":(\d+)/.exec(host.log)?.[1])
  const volume = await host.createVolume(8 * MIB)
  const socket = await host.serve(volume)
  const steady = await NbdClient.connect(socket)
  await steady.write(0, Buffer.alloc(4096, 1))
  const hello = Buffer.from('00000003', 'hex')
  const option = Buffer.concat([hello, Buffer.from('IHAVEOPT'), Buffer.from('00000007ffffffff', 'hex')])
  const go = Buffer.concat([
    hello,
    Buffer.from('IHAVEOPT'),
    Buffer.from('0000000700000006000000000000', 'hex'),
  ])
  const garbage = [
    randomBytes(100_000),
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.concat([hello, randomBytes(1000)]),
    Buffer.concat([option, randomBytes(1000)]),
    Buffer.concat([go, randomBytes(1000)]),
    go.subarray(0, 10),
    Buffer.alloc(100_000),
    Buffer.from(`${'{'.repeat(10_000)}\n`),
  ]
  const places = [{ path: socket }, { host: '127.0.0.1', port }, { path: join(host.run, 'engine.sock') }]
  for (const place of places) await Promise.all(garbage.map((bytes) => throwAt(place, bytes)))
  expect(await steady.read(0, 4096)).toEqual(Buffer.alloc(4096, 1))
  steady.close()
  expect((await host.client.call('volumes', {})).result).toMatchObject([{ volume }])
  // None of them stays connected.
  await expect
    .poll(async () => (await host.client.call('shell-stats', {})).result.connections, { timeout: 60_000 })
    .toBe(0)
})

test(
  'a full file system gives ENOSPC to writers; reads go on, and so does the next start',
  options,
  async () => {
    const mount = host.path('small')
    mkdirSync(mount)
    await runTool('mount', '-t', 'tmpfs', '-o', 'size=40m', 'none', mount)
    try {
      await host.format({ size: '128M', name: 'small/store' })
      const start = { stores: [join(mount, 'store')] }
      await host.start(start)
      const volume = await host.createVolume(100 * MIB)
      const uri = nbdUri(await host.serve(volume))
      await runTool('qemu-io', '-f', 'raw', '-c', 'write -P 1 0 8M', uri)
      const tooMuch = ['-c', 'write -P 2 8M 30M', '-c', 'write -P 2 38M 30M']
      await expect(runTool('qemu-io', '-f', 'raw', ...tooMuch, uri)).rejects.toThrow('No space left')
      await runTool('qemu-io', '-f', 'raw', '-c', 'read -P 1 0 8M', uri)
      await host.end('SIGKILL')
      await host.start(start)
      await host.serve(volume)
      await runTool('qemu-io', '-f', 'raw', '-c', 'read -P 1 0 8M', uri)
      expect((await host.client.call('stores', {})).result).toMatchObject([{ state: 'ready' }])
    } finally {
      await host.end('SIGKILL')
      await runTool('umount', mount)
    }
  },
)

test(
  'a block that rots on the disk reads as an error, never as wrong bytes, and others are read',
  options,
  async () => {
    const { path } = await host.format({ size: '128M' })
    await host.start()
    const volume = await host.createVolume(8 * MIB)
    const client = await NbdClient.connect(await host.serve(volume))
    const block = (index: number): Buffer => Buffer.alloc(4096, `block ${index} `)
    for (let index = 0; index < 64; index++) await client.write(index * 4096, block(index))
    await client.flush()
    client.close()
    await host.end()

    const victim = randomInt(64)
    let flips = 0
    for (const name of readdirSync(join(path, 'segments'))) {
      const file = join(path, 'segments', name)
      const bytes = readFileSync(file)
      const at = bytes.indexOf(block(victim))
      if (at < 0) continue
      bytes[at + 2000]! ^= 0x10
      writeFileSync(file, bytes)
      flips++
    }
    expect(flips).toBe(1)
    await host.start()
    const again = await NbdClient.connect(await host.serve(volume))
    for (let index = 0; index < 64; index++) {
      const read = again.read(index * 4096, 4096)
      if (index === victim) await expect(read, `block ${index}`).rejects.toMatchObject({ errno: 5 })
      else expect((await read).equals(block(index)), `block ${index}`).toBe(true)
    }
    again.close()
    expect(host.events).toContainEqual(
      expect.objectContaining({
        event: 'block-corrupt',
        detail: expect.objectContaining({ volume, block: victim }),
      }),
    )
  },
)
