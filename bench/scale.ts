/** The index at scale: memory while it is written, what it takes, checkpoints, and restarts. */
import { mkdirSync, rmSync } from 'node:fs'
import { atEnd } from './ends.js'
import { describeMachine } from './machine.js'
import { measureRestarts, type Restarts } from './restart.js'
import { measureSparse, type Sparse } from './sparse.js'

export interface ScaleOptions {
  readonly directory: string
  /** Of random writes over 1 TiB. */
  readonly seconds: number
  /** What map pages in memory may take meanwhile. */
  readonly mapMemory: number
  /** Of written volumes whose store is killed. */
  readonly sizes: readonly number[]
  readonly rounds: number
  /** Only what contains this: sparse, restart. */
  readonly only: string
  readonly say: (line: string) => void
}

export interface ScaleReport {
  readonly machine: string
  readonly sparse?: Sparse
  readonly restarts?: Restarts
}

export async function measureScale(options: ScaleOptions): Promise<ScaleReport> {
  const { directory, only, say, rounds } = options
  mkdirSync(directory, { recursive: true })
  const forget = atEnd(() => {
    rmSync(directory, { recursive: true, force: true })
  })
  try {
    const sparse = 'sparse'.includes(only)
      ? await measureSparse({ directory, seconds: options.seconds, mapBytes: options.mapMemory, say })
      : undefined
    const restarts = 'restart'.includes(only)
      ? await measureRestarts({ directory, sizesBytes: options.sizes, rounds, say })
      : undefined
    return {
      machine: describeMachine(),
      ...(sparse && { sparse }),
      ...(restarts && { restarts }),
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
    forget()
  }
}
