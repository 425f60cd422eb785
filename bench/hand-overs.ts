/**
 * A volume that is handed to and fro, again and again, under a client that writes all it can and reads back what it wrote: fio ends
 * at the first error, and at the first block that is not what was written.
 */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { BenchCluster } from './cluster.js'
import { traceRequests } from './fio.js'
import { RANDOM_WRITES } from './workloads.js'

/** From one to the next, if it is done by then. */
const EVERY_MS = 100
/** Of the client, before the first and behind the last. */
const MARGIN_MS = 3_000
/** Writes after which the client reads them back. */
const VERIFY_EVERY = 1024

export interface HandOvers {
  /** The slowest request answered between its beginning and the next one's, in ms, of each that was done. */
  readonly stallsMs: readonly number[]
  /** Asked for, and declined: the volume stayed where it was. */
  readonly declined: number
  /** Requests answered meanwhile. */
  readonly requests: number
}

interface HandOversOptions {
  readonly uri: string
  readonly sizeBytes: number
  readonly directory: string
  /** The client's node, which never leads. */
  readonly home: number
  /** Between which it goes. */
  readonly between: readonly [number, number]
  readonly count: number
  readonly say: (line: string) => void
}

export async function measureHandOvers(
  cluster: BenchCluster,
  { home, between, count, directory, say, ...disk }: HandOversOptions,
): Promise<HandOvers> {
  await cluster.lead(home, 'bench', between[0])
  await cluster.whole(home, 'bench')
  const seconds = Math.ceil((count * EVERY_MS + 2 * MARGIN_MS) / 1000)
  const path = join(directory, 'requests')
  const running = traceRequests(RANDOM_WRITES, { ...disk, seconds, verifyEvery: VERIFY_EVERY }, path)
  const client = { isRunning: true }
  const ended = running.finally(() => {
    client.isRunning = false
  })
  ended.catch(() => undefined)
  await delay(MARGIN_MS)
  const begunMs: number[] = []
  let declined = 0
  for (let index = 1; index <= count && client.isRunning; index++) {
    const beganMs = Date.now()
    try {
      await cluster.lead(home, 'bench', between[index % 2] ?? home)
      begunMs.push(beganMs)
    } catch (error) {
      say(`hand-over ${String(index)} was declined: ${String(error)}`)
      declined++
    }
    await delay(Math.max(0, beganMs + EVERY_MS - Date.now()))
  }
  begunMs.push(Date.now())
  const requests = await ended
  return { stallsMs: slowestBetween(begunMs, requests), declined, requests: requests.length }
}

/** @param marksMs - in order @returns for each but the last the slowest request answered from it to the next, in ms */
function slowestBetween(
  marksMs: readonly number[],
  requests: readonly (readonly [number, number])[],
): number[] {
  const slowest = marksMs.slice(1).map(() => 0)
  let at = 0
  for (const [answeredMs, us] of requests.toSorted(([a], [b]) => a - b)) {
    while (at < slowest.length && answeredMs >= (marksMs[at + 1] ?? 0)) at++
    if (at < slowest.length && answeredMs >= (marksMs[at] ?? 0))
      slowest[at] = Math.max(slowest[at] ?? 0, us / 1000)
  }
  return slowest
}
