/** A store on a block device: a loop device over a file. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { EngineHost, nbdUri } from './support/engine-process.js'
import { runTool } from './support/run-tool.js'

const MIB = 1024 * 1024
const options = { timeout: 120_000 }
let host: EngineHost
let device: string

beforeEach(async () => {
  host = new EngineHost()
  await runTool('truncate', '--size=128M', host.path('disk'))
  device = (await runTool('losetup', '--find', '--show', host.path('disk'))).stdout.trim()
})

afterEach(async () => {
  await host.dispose()
  await runTool('losetup', '--detach', device)
})

test(
  'it takes the size of the device, and holds what was written after the engine is killed',
  options,
  async () => {
    await host.format({ device })
    await host.start({ stores: [device] })
    const volume = await host.createVolume(32 * MIB)
    const write = ['-c', 'write -P 3 1000 5M', '-c', 'flush']
    await runTool('qemu-io', '-f', 'raw', ...write, nbdUri(await host.serve(volume)))
    await host.end('SIGKILL')
    await host.start({ stores: [device] })
    const read = ['-c', 'read -P 3 1000 5M', '-c', 'read -P 0 6M 1M']
    await runTool('qemu-io', '-f', 'raw', ...read, nbdUri(await host.serve(volume)))
  },
)

test(
  'a device that holds something is formatted only when told to, and one in use never',
  options,
  async () => {
    await runTool('mkfs.ext4', '-q', device)
    await expect(host.format({ device })).rejects.toThrow('ERR_STORE_EXISTS')
    await host.format({ device, force: true })
    await host.start({ stores: [device] })
    await expect(host.format({ device, force: true })).rejects.toThrow('ERR_STORE_LOCKED')
  },
)
