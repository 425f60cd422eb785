/**
 * Kills the engine under load, starts it again, and looks at every sector: what was acknowledged is there, what was
 * not is there or not, and nothing else is anywhere. Each mode has its promise: `kill -9` takes nothing that was
 * acknowledged in any of them, for the kernel has the bytes.
 */
import { randomInt } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { DiskOracle, randomFrom } from './support/disk-oracle.js'
import { EngineHost } from './support/engine-process.js'
import { NbdClient } from './support/nbd-client.js'

const MIB = 1024 * 1024
const SIZE = 8 * MIB
const TIMEOUT_MS = 300_000
const ROUNDS = process.env['CLOUDFS_TEST_LONG'] === undefined ? 4 : 40

let host: EngineHost

beforeEach(() => {
  host = new EngineHost()
})
afterEach(() => host.dispose())

test.each(['quorum', 'durable', 'local'] as const)(
  'kill -9 under load loses nothing acknowledged, in mode %s',
  { timeout: TIMEOUT_MS },
  async (mode) => {
    const seed = randomInt(2 ** 31)
    const random = randomFrom(seed)
    const oracle = new DiskOracle(SIZE, seed)
    // Small distances, so that segments end and checkpoints run in the midst of it.
    const args = ['--param=checkpointBytes=4194304', '--param=syncIntervalNs=20000000']
    await host.format({ size: '128M', segmentSize: '1M' })
    await host.start({ args })
    const volume = await host.createVolume(SIZE, { mode })
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const client = await NbdClient.connect(await host.serve(volume))
        await oracle.check(client)
        expect(await oracle.write(client, { count: 300 + random(700), depth: 16 })).toBe(true)
        // The second batch is cut off somewhere in its midst.
        const cut = oracle.write(client, { count: 100_000, depth: 32 })
        const goal = oracle.acknowledged + 50 + random(1500)
        while (oracle.acknowledged < goal) await new Promise((resolve) => setImmediate(resolve))
        await host.end('SIGKILL')
        expect(await cut).toBe(false)
        await host.start({ args })
      }
      const client = await NbdClient.connect(await host.serve(volume))
      await oracle.check(client)
      client.close()
    } catch (cause) {
      throw new Error(`seed ${seed}\n${host.log.slice(-2000)}`, { cause })
    }
  },
)

test('a clean stop ends with 0, and the next start finds everything', { timeout: TIMEOUT_MS }, async () => {
  const seed = randomInt(2 ** 31)
  const oracle = new DiskOracle(SIZE, seed)
  await host.format({ size: '128M', segmentSize: '1M' })
  await host.start()
  const volume = await host.createVolume(SIZE)
  const client = await NbdClient.connect(await host.serve(volume))
  await oracle.write(client, { count: 1000, depth: 16 })
  // Clients are still connected, and one is writing: it is refused, or cut off, before the engine has ended.
  const cut = Promise.allSettled([oracle.write(client, { count: 100_000, depth: 16 })])
  expect(await host.end('SIGTERM')).toBe('0')
  await cut
  await host.start()
  const again = await NbdClient.connect(await host.serve(volume))
  await oracle.check(again)
  again.close()
})
