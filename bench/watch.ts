/** An engine watched while it works: memory, map and checkpoints, from one moment to the next. */
import { setTimeout as delay } from 'node:timers/promises'
import type { BareEngine } from './engine.js'
import { residentBytes } from './processes.js'

interface Sample {
  /** Since the watch began. */
  readonly ms: number
  readonly residentBytes: number
  /** Of map pages in memory, those that no checkpoint has written yet included. */
  readonly mapBytes: number
  readonly dirtyBytes: number
  readonly logBytes: number
}

/** A checkpoint that was published while somebody watched. */
export interface CheckpointSeen {
  /** Since the watch began. */
  readonly ms: number
  readonly tookMs: number
  /** All pages of it. */
  readonly writtenBytes: number
}

export interface Watched {
  readonly samples: readonly Sample[]
  readonly checkpoints: readonly CheckpointSeen[]
}

const EVERY_MS = 250
const PAGE_BYTES = 4096
const NS_PER_MS = 1e6

/** Watches an engine until what it does has ended. */
export async function watchWhile(engine: BareEngine, work: Promise<unknown>): Promise<Watched> {
  const ended = new AbortController()
  // Whoever asked for the work hears of its failure.
  const done = work
    .catch(() => undefined)
    .then(() => {
      ended.abort()
    })
  const samples: Sample[] = []
  const checkpoints: CheckpointSeen[] = []
  const began = performance.now()
  let before = await engine.figures()
  while (!ended.signal.aborted) {
    await delay(EVERY_MS, undefined, { signal: ended.signal }).catch(() => undefined)
    const now = await engine.figures()
    const ms = performance.now() - began
    const of = (name: string): number => now[name] ?? 0
    const grown = (name: string): number => of(name) - (before[name] ?? 0)
    samples.push({
      ms,
      residentBytes: residentBytes(engine.pid),
      mapBytes: of('mapBytes'),
      dirtyBytes: of('mapDirtyPages') * PAGE_BYTES,
      logBytes: of('logBytes'),
    })
    const count = grown('checkpoints')
    if (count > 0) {
      // Those that fell between two looks share what they took.
      const each = {
        tookMs: grown('checkpointNs') / NS_PER_MS / count,
        writtenBytes: grown('checkpointBytes') / count,
      }
      for (let index = 0; index < count; index++) checkpoints.push({ ms, ...each })
      before = now
    }
  }
  await done
  return { samples, checkpoints }
}
