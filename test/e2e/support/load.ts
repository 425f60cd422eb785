/** A client that writes at random through one connection all the time, and then looks at every sector. */
import { expect } from 'vitest'
import { DiskOracle } from './disk-oracle.js'
import { NbdClient } from './nbd-client.js'

const DEPTH = 16
/** Writes after which it is asked whether that is enough. */
const BATCH = 200
const ACKNOWLEDGED_MIN = 100

interface Load {
  readonly client: NbdClient
  readonly oracle: DiskOracle
}

/**
 * Writes while `trouble` goes on. The connection must last, no write may fail, and in the end each sector has what was written
 * to it last: a write that was applied twice, or late, shows.
 */
export async function underLoad(
  { socket, sizeBytes, seed }: { readonly socket: string; readonly sizeBytes: number; readonly seed: number },
  trouble: (load: Load) => Promise<void>,
): Promise<void> {
  const client = await NbdClient.connect(socket)
  const oracle = new DiskOracle(sizeBytes, seed)
  let isOver = false
  const load = (async () => {
    while (!isOver) expect(await oracle.write(client, { count: BATCH, depth: DEPTH })).toBe(true)
  })()
  load.catch(() => undefined)
  try {
    await Promise.race([trouble({ client, oracle }), load])
  } finally {
    isOver = true
  }
  await load
  await client.flush()
  await oracle.check(client)
  expect(oracle.acknowledged).toBeGreaterThan(ACKNOWLEDGED_MIN)
  client.close()
}
