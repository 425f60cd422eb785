/**
 * A replica is gone for a while and comes back, while a client writes as fast as it can or at a fixed rate: what its node's start
 * and its catching up take from the client, and how much it is sent for what it lacks.
 */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type BenchCluster } from './cluster.js'
import { BLOCK_BYTES, traceNbd } from './fio.js'
import { meanBetween } from './series.js'
import { RANDOM_WRITES } from './workloads.js'

/** With all three, before it goes. */
const BEFORE_SECONDS = 5
/** In which it is hoped to be in step again. */
const AFTER_SECONDS = 30

export interface Gone {
  readonly iopsBefore: number
  /** Of that, from the start of the node until its replica is fed: what starting a node on the same machine takes. */
  readonly shareStarting: number
  /** From then on until it is in step. */
  readonly share: number
  /** From its start. */
  readonly inStepMs: number
  /** From when it was ready. */
  readonly inStepOfReadyMs: number
  /** What the client wrote from when it went until it was in step. */
  readonly lackedBytes: number
  /** What its engine got over all streams. */
  readonly fetchedBytes: number
}

export interface GoneOptions {
  readonly uri: string
  readonly sizeBytes: number
  /** The client's node. */
  readonly home: number
  readonly directory: string
  readonly goneSeconds: number
  /** Writes a second; left out: as many as there can be. */
  readonly rate?: number
  readonly say: (line: string) => void
}

/** @throws an Error if the replica is not in step before the client ends */
export async function measureGone(cluster: BenchCluster, options: GoneOptions): Promise<Gone> {
  const { uri, sizeBytes, home, directory, goneSeconds, rate, say } = options
  const primary = await cluster.primary(home, 'bench')
  const replica = [3, 2, 1].find((index) => index !== home && index !== primary) ?? 0
  const seconds = BEFORE_SECONDS + goneSeconds + AFTER_SECONDS
  const began = performance.now()
  const running = traceNbd(
    RANDOM_WRITES,
    { uri, sizeBytes, seconds, ...(rate !== undefined && { rate }) },
    { path: join(directory, 'gone'), everyMs: 100 },
  )
  running.catch(() => undefined)
  let isBack = false
  try {
    await delay(BEFORE_SECONDS * 1000)
    cluster.signal(replica, 'SIGKILL')
    const goneMs = performance.now() - began
    await delay(goneSeconds * 1000)
    const backMs = performance.now() - began
    isBack = true
    const fed = cluster.heard(home, 'bench', replica)
    fed.catch(() => undefined)
    await cluster.start(replica)
    const readyMs = performance.now() - began
    await cluster.whole(home, 'bench')
    const inStepMs = performance.now() - began
    const fetchedBytes = await cluster.streamBytesReceived(replica)
    const fedMs = Math.min((await fed) - began, inStepMs)
    if (inStepMs > seconds * 1000) throw new Error('the replica was not in step before the client had ended')
    const { series } = await running
    const mean = (fromMs: number, toMs: number): number => meanBetween(series, fromMs, toMs)
    const iopsBefore = mean(0, goneMs)
    const result = {
      iopsBefore,
      shareStarting: mean(backMs, fedMs) / iopsBefore,
      share: mean(fedMs, inStepMs) / iopsBefore,
      inStepMs: inStepMs - backMs,
      inStepOfReadyMs: Math.max(0, inStepMs - readyMs),
      lackedBytes: (mean(goneMs, inStepMs) * (inStepMs - goneMs) * BLOCK_BYTES) / 1000,
      fetchedBytes,
    }
    const percent = (share: number): string => (100 * share).toFixed(0)
    say(
      `replica gone: in step after ${result.inStepMs.toFixed(0)} ms, ${result.inStepOfReadyMs.toFixed(0)} ms from ready; ` +
        `${percent(result.shareStarting)} % of IOPS while its node starts, ${percent(result.share)} % while it catches up; ` +
        `fetched ${percent(fetchedBytes / result.lackedBytes)} % of what it lacked`,
    )
    return result
  } finally {
    await running.catch(() => undefined)
    if (!isBack) await cluster.start(replica)
  }
}
