/**
 * Writes that go on: how even they are over checkpoints and changes of segment, and what they take of the log and of the wire.
 * Goals: the 99th percentile at most four times the median; 1.035 bytes of log and 1.05 bytes on the wire to each replica for a byte
 * written, at depth 32.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fill, type Measured, traceNbd } from './fio.js'
import { atEnd } from './ends.js'
import { describeMachine } from './machine.js'
import { engineFigures, type LocalDisk, LocalNodes } from './nodes.js'
import type { Series } from './series.js'
import type { Workload } from './workloads.js'

const COPIES = 3
const PAUSE_MS = 2_000
/** Of runs that are asked for their bytes alone. */
const COUNTED_SECONDS_MAX = 10

export interface SteadyOptions {
  readonly directory: string
  readonly sizeBytes: number
  readonly seconds: number
  readonly say: (line: string) => void
}

interface Steady {
  readonly depth: number
  readonly seconds: number
  readonly measured: Measured
  /** About each second. */
  readonly series: Series
  /** Of the primary's log, for each byte that the client wrote. */
  readonly logBytesPerByte: number
  /** Sent to each replica, for each byte that the client wrote. */
  readonly wireBytesPerByte: number
  /** That the primary's store published meanwhile. */
  readonly checkpoints: number
  /** Of one, in the mean. */
  readonly checkpointMs: number
}

export interface SteadyReport {
  readonly machine: string
  readonly sizeBytes: number
  readonly runs: readonly Steady[]
}

export async function measureSteady(options: SteadyOptions): Promise<SteadyReport> {
  const { directory, sizeBytes, seconds } = options
  mkdirSync(directory, { recursive: true })
  const forget = atEnd(() => {
    rmSync(directory, { recursive: true, force: true })
  })
  const nodes = await LocalNodes.up(join(directory, 'nodes'), COPIES, sizeBytes * 8)
  try {
    const disk = await nodes.disk(sizeBytes, 'steady')
    await fill({ uri: disk.uri, sizeBytes })
    // Bytes are counted before the store has to be cleaned; the long run is cleaned as it goes.
    const short = Math.min(seconds, COUNTED_SECONDS_MAX)
    const runs = [
      await run(disk, 32, short, options),
      await run(disk, 1, short, options),
      await run(disk, 32, seconds, options),
    ]
    return { machine: describeMachine(), sizeBytes, runs }
  } finally {
    await nodes.down()
    rmSync(directory, { recursive: true, force: true })
    forget()
  }
}

async function run(
  { uri, primary }: LocalDisk,
  depth: number,
  seconds: number,
  { directory, sizeBytes, say }: SteadyOptions,
): Promise<Steady> {
  const workload: Workload = {
    name: `random write, depth ${String(depth)}`,
    rw: 'randwrite',
    blockBytes: 4096,
    depth,
  }
  await delay(PAUSE_MS)
  const before = await engineFigures(primary)
  const trace = { path: join(directory, 'steady'), everyMs: 1000 }
  const { series, ...measured } = await traceNbd(workload, { uri, sizeBytes, seconds }, trace)
  const after = await engineFigures(primary)
  const grown = (name: string): number => (after.get(name) ?? 0) - (before.get(name) ?? 0)
  const bytes = measured.operations * workload.blockBytes
  const checkpoints = grown('checkpoints')
  const result = {
    ...{ depth, seconds, measured, series, checkpoints },
    logBytesPerByte: grown('log_bytes') / bytes,
    wireBytesPerByte: grown('stream_bytes_sent') / (COPIES - 1) / bytes,
    checkpointMs: checkpoints === 0 ? 0 : grown('checkpoint_ns') / 1e6 / checkpoints,
  }
  say(
    `${workload.name}: ${measured.iops.toFixed(0)}/s, p50 ${measured.p50.toFixed(0)} us, p99 ${measured.p99.toFixed(0)} us ` +
      `(${(measured.p99 / measured.p50).toFixed(1)} times), worst ${(measured.max / 1000).toFixed(0)} ms; ` +
      `${result.logBytesPerByte.toFixed(3)} bytes of log, ${result.wireBytesPerByte.toFixed(3)} on the wire to each replica, for a byte`,
  )
  return result
}
