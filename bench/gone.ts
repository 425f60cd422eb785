/** A replica is gone for a while under full load, and comes back: what its catching up takes from the client. */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { BenchCluster } from './cluster.js'
import { traceIops } from './fio.js'

/** With all three, before it goes. */
const BEFORE_SECONDS = 5
/** In which it is hoped to be in step again. */
const AFTER_SECONDS = 30

export interface Gone {
  readonly iopsBefore: number
  /** Of that, from the start of the node until its replica is in step. */
  readonly share: number
  /** From its start. */
  readonly inStepMs: number
  /** From when it was ready. */
  readonly inStepOfReadyMs: number
}

export interface GoneOptions {
  readonly uri: string
  readonly sizeBytes: number
  /** The client's node. */
  readonly home: number
  readonly directory: string
  readonly goneSeconds: number
  readonly say: (line: string) => void
}

/** @throws an Error if the replica is not in step before the client ends */
export async function measureGone(cluster: BenchCluster, options: GoneOptions): Promise<Gone> {
  const { uri, sizeBytes, home, directory, goneSeconds, say } = options
  const primary = await cluster.primary(home, 'bench')
  const replica = [3, 2, 1].find((index) => index !== home && index !== primary) ?? 0
  const seconds = BEFORE_SECONDS + goneSeconds + AFTER_SECONDS
  const began = performance.now()
  const running = traceIops({ uri, sizeBytes, seconds }, join(directory, 'gone'))
  running.catch(() => undefined)
  let isBack = false
  try {
    await delay(BEFORE_SECONDS * 1000)
    cluster.signal(replica, 'SIGKILL')
    const goneMs = performance.now() - began
    await delay(goneSeconds * 1000)
    const backMs = performance.now() - began
    isBack = true
    await cluster.start(replica)
    const readyMs = performance.now() - began
    await cluster.whole(home, 'bench')
    const inStepMs = performance.now() - began
    if (inStepMs > seconds * 1000) throw new Error('the replica was not in step before the client had ended')
    const trace = await running
    const mean = (fromMs: number, toMs: number): number => {
      const within = trace.filter(([ms]) => ms > fromMs && ms <= toMs).map(([, iops]) => iops)
      return within.reduce((sum, iops) => sum + iops, 0) / within.length
    }
    const iopsBefore = mean(0, goneMs)
    const result = {
      iopsBefore,
      share: mean(backMs, inStepMs) / iopsBefore,
      inStepMs: inStepMs - backMs,
      inStepOfReadyMs: inStepMs - readyMs,
    }
    say(
      `replica gone: in step after ${result.inStepMs.toFixed(0)} ms, ${(100 * result.share).toFixed(0)} % of IOPS`,
    )
    return result
  } finally {
    await running.catch(() => undefined)
    if (!isBack) await cluster.start(replica)
  }
}
