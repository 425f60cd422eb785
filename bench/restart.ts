/**
 * How long a store takes after `kill -9` until it answers a read, by how much it has mapped and how much log lies behind its newest
 * checkpoint. Goal: it does not depend on the first, and the second is bounded by the distance of checkpoints.
 */
import { join } from 'node:path'
import { BareEngine } from './engine.js'
import { fill, scatter } from './fio.js'
import { type IndexSize, indexSize } from './index-size.js'
import { dropCaches } from './processes.js'
import { type CheckpointSeen, watchWhile } from './watch.js'

const GIB = 1024 ** 3
/** Of the log between two checkpoints when the store is killed: nearly as much as there can be. */
const DISTANCE = 0.9
/** `checkpoint_bytes` of native/src/core/base/parameters.h. */
const CHECKPOINT_BYTES = 2 * GIB
/** Log that random writes of one block take at depth 32, for a byte of theirs. */
const LOG_BYTES_PER_BYTE = 1.04

export interface RestartOptions {
  readonly directory: string
  /** Written volumes, growing. */
  readonly sizesBytes: readonly number[]
  /** Starts of each kind. */
  readonly rounds: number
  readonly say: (line: string) => void
}

export interface Restart {
  readonly mappedBytes: number
  /** Behind the newest checkpoint when it was killed. */
  readonly logBytes: number
  /** Nothing of it is in the kernel's page cache. */
  readonly isCold: boolean
  /** From the start of the process until a read is answered. */
  readonly firstReadMs: readonly number[]
  /** Until its control socket answers: what starting the process takes. */
  readonly controlMs: readonly number[]
}

export interface Restarts {
  readonly restarts: readonly Restart[]
  /** Of each size, every block written. */
  readonly indexes: readonly IndexSize[]
  /** While the written volume was written at random. */
  readonly checkpoints: readonly CheckpointSeen[]
}

export async function measureRestarts(options: RestartOptions): Promise<Restarts> {
  const { directory, sizesBytes, rounds, say } = options
  const volumeBytes = Math.max(...sizesBytes)
  const engine = await BareEngine.format(join(directory, 'restart'), volumeBytes * 1.25 + 12 * GIB)
  const restarts: Restart[] = []
  const indexes: IndexSize[] = []
  const checkpoints: CheckpointSeen[] = []
  try {
    await engine.start()
    const volume = await engine.createVolume(volumeBytes, 'restart')
    let filledBytes = 0
    const starts = async (isCold: boolean): Promise<void> => {
      const logBytes = (await engine.figures())['checkpointLogBytes'] ?? 0
      const firstReadMs: number[] = []
      const controlMs: number[] = []
      for (let round = 0; round < rounds; round++) {
        await engine.kill()
        if (isCold) await dropCaches()
        const began = performance.now()
        const started = await engine.start()
        await engine.readBlock(volume, Math.floor((Math.random() * filledBytes) / 4096) * 4096)
        firstReadMs.push(performance.now() - began)
        controlMs.push(started.controlMs)
      }
      restarts.push({ mappedBytes: filledBytes, logBytes, isCold, firstReadMs, controlMs })
      const how = `${(filledBytes / GIB).toFixed(0)} GiB mapped, ${(logBytes / GIB).toFixed(2)} GiB of log, ${isCold ? 'cold' : 'cached'}`
      say(`${how}: first read after ${firstReadMs.map((ms) => ms.toFixed(0)).join(', ')} ms`)
    }
    for (const sizeBytes of sizesBytes) {
      const part = { offsetBytes: filledBytes, sizeBytes: sizeBytes - filledBytes }
      await fill({ uri: await engine.serve(volume), ...part })
      filledBytes = sizeBytes
      indexes.push(await indexSize(engine))
      await starts(false)
      const isRoot = process.getuid?.() === 0
      if (isRoot) await starts(true)
      // Once around a checkpoint, and nearly to the next one.
      const uri = await engine.serve(volume)
      const bytes = ((1 + DISTANCE) * CHECKPOINT_BYTES) / LOG_BYTES_PER_BYTE
      const seen = await watchWhile(engine, scatter(uri, { sizeBytes, bytes }))
      checkpoints.push(...seen.checkpoints)
      await starts(false)
      if (isRoot) await starts(true)
    }
    return { restarts, indexes, checkpoints }
  } finally {
    await engine.dispose()
  }
}
