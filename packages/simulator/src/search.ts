/**
 * Many seeds at once: each worker is a process of its own, so that a core that gives up takes nothing with it but its seed,
 * and all processors are used.
 */
import { fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import type { Plant } from '@cloudfs/native'
import { type Counts, Coverage } from './coverage.js'
import { live, type Report } from './life.js'

export interface SearchOptions {
  readonly first: number
  readonly last: number
  readonly plant?: Plant | undefined
  readonly workerCount?: number | undefined
  /** The program that a worker runs, which calls `work`. */
  readonly program: string
  readonly onReport?: (report: Report) => void
  /** Every some seconds. @param living - seeds that have not ended, the oldest first */
  readonly onProgress?: (seedCount: number, living: readonly number[]) => void
}

export interface Found {
  readonly seedCount: number
  readonly steps: number
  readonly simulatedNs: number
  readonly counts: Counts
  /** By seed: what must not have been. */
  readonly failures: readonly { readonly seed: number; readonly fault: string }[]
}

interface Order {
  readonly seed: number
  readonly plant?: Plant
}

const PROGRESS_MS = 10_000

export async function search(options: SearchOptions): Promise<Found> {
  const coverage = new Coverage()
  const failures: { seed: number; fault: string }[] = []
  let [seedCount, steps, simulatedNs] = [0, 0, 0]
  let next = options.first
  const living = new Set<number>()
  const take = (): number | undefined => {
    if (next > options.last) return undefined
    living.add(next)
    return next++
  }
  const note = (report: Report): void => {
    seedCount++
    living.delete(report.seed)
    steps += report.steps
    simulatedNs += report.simulatedNs
    coverage.add(report.counts)
    if (report.fault !== undefined) failures.push({ seed: report.seed, fault: report.fault })
    options.onReport?.(report)
  }
  const crashed = (seed: number, how: string): void => {
    seedCount++
    living.delete(seed)
    failures.push({ seed, fault: `the process ended: ${how}` })
  }
  const workerCount = Math.min(
    options.workerCount ?? availableParallelism(),
    options.last - options.first + 1,
  )
  const progress = setInterval(() => options.onProgress?.(seedCount, [...living]), PROGRESS_MS)
  try {
    await Promise.all(
      Array.from({ length: workerCount }, async () => {
        for (let seed = take(); seed !== undefined;)
          seed = await runWorker(options, seed, { take, note, crashed })
      }),
    )
  } finally {
    clearInterval(progress)
  }
  return {
    seedCount,
    steps,
    simulatedNs,
    counts: coverage.counts,
    failures: failures.toSorted((a, b) => a.seed - b.seed),
  }
}

interface Desk {
  readonly take: () => number | undefined
  readonly note: (report: Report) => void
  readonly crashed: (seed: number, how: string) => void
}

/** One process, from a first seed on. @returns the seed to go on with, where the process ended over one */
function runWorker(
  { program, plant }: SearchOptions,
  first: number,
  desk: Desk,
): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const child = fork(program, ['--worker'], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
    let seed: number | undefined = first
    let said = ''
    const send = (): void => {
      if (seed === undefined) child.disconnect()
      else child.send({ seed, ...(plant !== undefined && { plant }) } satisfies Order)
    }
    child.stderr?.on('data', (bytes: Buffer) => {
      said = (said + bytes.toString()).slice(-2000)
    })
    child.on('message', (report: Report) => {
      desk.note(report)
      seed = desk.take()
      send()
    })
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      if (seed === undefined) {
        resolve(undefined)
        return
      }
      desk.crashed(seed, `${signal ?? `exit code ${String(code)}`} ${said.trim()}`)
      resolve(desk.take())
    })
    send()
  })
}

/** A worker's life: seeds come as messages, reports go back. */
export function work(): void {
  process.on('message', (order: Order) => {
    live(order).then(
      (report) => process.send?.(report),
      (error: unknown) => {
        process.stderr.write(`${error instanceof Error ? String(error.stack) : String(error)}\n`)
        process.exit(1)
      },
    )
  })
}
