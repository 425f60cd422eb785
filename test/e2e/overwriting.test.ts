/** A store that is overwritten again and again never fills: what is dead is freed, what is half dead is cleaned. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { EngineHost, nbdUri } from './support/engine-process.js'
import { runTool } from './support/run-tool.js'

const MIB = 1024 * 1024
const STORE_MIB = 96
const VOLUME_MIB = 40
let host: EngineHost

beforeEach(() => {
  host = new EngineHost()
})
afterEach(() => host.dispose())

/** Segments that clients may still fill: those that are free beyond the cleaner's own. */
async function usableSegments(): Promise<number> {
  const { free, reserved } = (await host.client.call('segments', {})).result
  return free - reserved
}

test('five times the size of the store is written under fio --verify', { timeout: 600_000 }, async () => {
  await host.format({ size: `${STORE_MIB}M`, segmentSize: '1M' })
  const args = [`--param=checkpointBytes=${16 * MIB}`]
  await host.start({ args })
  const volume = await host.createVolume(VOLUME_MIB * MIB)
  const uri = nbdUri(await host.serve(volume))
  const loops = Math.ceil((5 * STORE_MIB) / VOLUME_MIB)
  const fio = [
    '--ioengine=nbd',
    `--uri=${uri}`,
    '--bs=4k',
    '--iodepth=16',
    '--verify=crc32c',
    '--verify_fatal=1',
    '--verify_state_save=0',
  ]
  await runTool('fio', '--name=over', ...fio, '--rw=randwrite', `--size=${VOLUME_MIB}M`, `--loops=${loops}`)
  // The cleaner is still at work on what the last requests left half dead.
  await expect.poll(usableSegments, { timeout: 60_000 }).toBeGreaterThan(0)

  // What the last pass wrote is there after a crash too.
  await runTool('nbdcopy', uri, host.path('before'))
  await host.end('SIGKILL')
  await host.start({ args })
  await host.serve(volume)
  await runTool('nbdcopy', uri, host.path('after'))
  await runTool('cmp', host.path('before'), host.path('after'))
})

test(
  'a full volume gets ENOSPC, keeps what it has, and goes on once space is freed',
  { timeout: 300_000 },
  async () => {
    await host.format({ size: '32M', segmentSize: '1M' })
    await host.start()
    const volume = await host.createVolume(256 * MIB)
    const uri = nbdUri(await host.serve(volume))
    await runTool('qemu-io', '-f', 'raw', '-c', 'write -P 1 0 8M', uri)
    await expect(runTool('qemu-io', '-f', 'raw', '-c', 'write -P 2 8M 248M', uri)).rejects.toThrow(
      /No space left/,
    )
    await runTool('qemu-io', '-f', 'raw', '-c', 'read -P 1 0 8M', uri)
    await runTool('qemu-io', '-f', 'raw', '-c', 'discard 8M 248M', '-c', 'flush', uri)
    await expect.poll(usableSegments, { timeout: 60_000 }).toBeGreaterThan(5)
    await runTool(
      'qemu-io',
      '-f',
      'raw',
      '-c',
      'write -P 3 8M 4M',
      '-c',
      'read -P 3 8M 4M',
      '-c',
      'read -P 1 0 8M',
      uri,
    )
  },
)
