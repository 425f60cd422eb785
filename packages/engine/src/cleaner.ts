/**
 * Carries out the cleaning policy on one store: woken by the core's events, it looks at the segment table, cleans what
 * the policy names, and has a checkpoint free it. One round at a time; nothing runs while the store is idle.
 */
import type { CoreCommands, CoreEvent } from '@cloudfs/interface'
import type { Logger } from 'pino'
import { planCleaning } from './cleaning-policy.js'

/** A sealed segment looks for work at most this often; low space does at once. */
const LOOK_INTERVAL_MS = 250
/** What was refused, for it was busy or there was no room, may be cleaned later; each time in vain the wait is twice as long. */
const REFUSED_MS_MIN = 1_000
const REFUSED_MS_MAX = 600_000

type CleaningVerb = 'segments' | 'clean' | 'checkpoint'

export interface CleanerOptions {
  readonly command: <V extends CleaningVerb>(
    verb: V,
    args: CoreCommands[V]['args'],
  ) => Promise<CoreCommands[V]['result']>
  readonly segmentBytes: number
  readonly log: Pick<Logger, 'warn' | 'debug'>
  /** Calls `then` after `ms`; @returns how to cancel that. */
  readonly later?: (ms: number, then: () => void) => () => void
}

export class Cleaner {
  readonly #options: CleanerOptions
  readonly #refused = new Set<number>()
  #running: Promise<void> | undefined
  #again = false
  #cancelLook: (() => void) | undefined
  #cancelRetry: (() => void) | undefined
  #retryMs = REFUSED_MS_MIN
  #closed = false

  constructor(options: CleanerOptions) {
    this.#options = options
  }

  onEvent(event: CoreEvent): void {
    if (event.name === 'space-low') this.#wake()
    else if (event.name === 'segment-sealed') this.#wakeLater()
  }

  /** Waits for the round going on; none starts any more. */
  async close(): Promise<void> {
    this.#closed = true
    this.#cancelLook?.()
    this.#cancelRetry?.()
    await this.#running
  }

  #wakeLater(): void {
    if (this.#cancelLook !== undefined || this.#closed) return
    this.#cancelLook = (this.#options.later ?? laterByTimer)(LOOK_INTERVAL_MS, () => {
      this.#cancelLook = undefined
      this.#wake()
    })
  }

  /** Nothing else may wake it: a store that is full takes no writes. */
  #retryRefused(): void {
    if (this.#cancelRetry !== undefined || this.#closed) return
    this.#cancelRetry = (this.#options.later ?? laterByTimer)(this.#retryMs, () => {
      this.#cancelRetry = undefined
      this.#refused.clear()
      this.#wake()
    })
    this.#retryMs = Math.min(2 * this.#retryMs, REFUSED_MS_MAX)
  }

  #wake(): void {
    this.#again = true
    if (this.#running !== undefined || this.#closed) return
    this.#running = this.#run()
      .catch((error: unknown) => {
        // A store that failed or was closed says so to everyone; the next event starts afresh.
        this.#options.log.warn({ err: error }, 'cleaning stopped')
      })
      .finally(() => {
        this.#running = undefined
        if (this.#again) this.#wake()
      })
  }

  async #run(): Promise<void> {
    const { command, segmentBytes } = this.#options
    let freeBefore = -1
    while (!this.#closed) {
      this.#again = false
      const table = await command('segments', {})
      // A round that freed nothing would only be repeated: the next event tells when there is more to gain.
      if (table.free <= freeBefore) return
      if (freeBefore >= 0) this.#retryMs = REFUSED_MS_MIN
      const plan = planCleaning(table, segmentBytes, this.#refused)
      if (!plan.checkpoint) return
      freeBefore = table.free
      for (const logical of plan.victims) await this.#clean(logical)
      await command('checkpoint', {})
    }
  }

  async #clean(logical: number): Promise<void> {
    try {
      const { movedBytes } = await this.#options.command('clean', { logical })
      this.#options.log.debug({ logical, movedBytes }, 'cleaned a segment')
    } catch (error) {
      // The segment stays as it is; another is as good.
      this.#refused.add(logical)
      this.#retryRefused()
      this.#options.log.warn({ err: error, logical }, 'a segment could not be cleaned')
    }
  }
}

function laterByTimer(ms: number, then: () => void): () => void {
  const timer = setTimeout(then, ms)
  return () => {
    clearTimeout(timer)
  }
}
