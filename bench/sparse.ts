/**
 * A volume of 1 TiB that is written at random, a block here and a block there: nearly every write dirties a page of the map that
 * nothing else uses. Goal: memory stays within what the map is given, however long that goes on.
 */
import { join } from 'node:path'
import { BareEngine } from './engine.js'
import { type Measured, traceNbd } from './fio.js'
import { type IndexSize, indexSize } from './index-size.js'
import { residentBytes } from './processes.js'
import type { Series } from './series.js'
import { type Watched, watchWhile } from './watch.js'
import type { Workload } from './workloads.js'

const VOLUME_BYTES = 1024 ** 4
/** Segments are made as they are needed: this is a limit. */
const STORE_BYTES = 48 * 1024 ** 3
const WORKLOAD: Workload = { name: 'random write, depth 32', rw: 'randwrite', blockBytes: 4096, depth: 32 }

export interface SparseOptions {
  readonly directory: string
  readonly seconds: number
  /** What map pages in memory may take. */
  readonly mapBytes: number
  readonly say: (line: string) => void
}

export interface Sparse extends Watched {
  readonly volumeBytes: number
  readonly mapBytesMax: number
  readonly idleBytes: number
  readonly measured: Measured
  readonly series: Series
  readonly index: IndexSize
}

export async function measureSparse({ directory, seconds, mapBytes, say }: SparseOptions): Promise<Sparse> {
  const engine = await BareEngine.format(join(directory, 'sparse'), STORE_BYTES)
  try {
    await engine.start({ mapBytesMax: mapBytes })
    const uri = await engine.serve(await engine.createVolume(VOLUME_BYTES, 'sparse'))
    const idleBytes = residentBytes(engine.pid)
    const run = { uri, sizeBytes: VOLUME_BYTES, seconds }
    const writing = traceNbd(WORKLOAD, run, { path: join(directory, 'sparse-trace'), everyMs: 1000 })
    const watched = await watchWhile(engine, writing)
    const { series, ...measured } = await writing
    for (const { ms, residentBytes: resident, mapBytes: map, dirtyBytes } of everySeconds(watched, seconds))
      say(
        `${(ms / 1000).toFixed(0)} s: ${mib(resident)} resident, map ${mib(map)}, of it not written ${mib(dirtyBytes)}`,
      )
    say(
      `${measured.iops.toFixed(0)} IOPS, p99 ${measured.p99.toFixed(0)} us, worst ${(measured.max / 1000).toFixed(0)} ms`,
    )
    const index = await indexSize(engine)
    return {
      ...{ volumeBytes: VOLUME_BYTES, mapBytesMax: mapBytes, idleBytes },
      ...{ measured, series, index },
      ...watched,
    }
  } finally {
    await engine.dispose()
  }
}

/** About ten samples, evenly. */
function everySeconds({ samples }: Watched, seconds: number): Watched['samples'] {
  const step = Math.max(1, Math.round(seconds / 10)) * 1000
  return samples.filter(
    ({ ms }, index) => Math.floor(ms / step) !== Math.floor((samples[index - 1]?.ms ?? 0) / step),
  )
}

function mib(bytes: number): string {
  return `${(bytes / 1024 ** 2).toFixed(0)} MiB`
}
