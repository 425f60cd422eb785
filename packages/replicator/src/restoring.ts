/** Has what is attached at this host served again, as soon as somebody leads it, for as long as that takes. */
import type { Logger } from 'pino'
import { isCloudfsError } from '@cloudfs/interface'

/** Pause before volumes that nobody leads yet are looked at again; doubles up to the greatest. */
const RETRY_MS_MIN = 100
const RETRY_MS_MAX = 3_000

interface RestoringOptions {
  /** @returns whether all is served */
  readonly restore: () => Promise<boolean>
  readonly log: Logger
}

export class Restoring {
  readonly #options: RestoringOptions
  #running: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #retryMs = RETRY_MS_MIN
  #isWanted = false
  #isClosed = false

  constructor(options: RestoringOptions) {
    this.#options = options
  }

  /** Something has changed. */
  soon(): void {
    this.#retryMs = RETRY_MS_MIN
    this.#begin()
  }

  /** The same, for who waits until what can be served is. */
  async now(): Promise<void> {
    this.soon()
    await this.#running
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#running
  }

  #begin(): void {
    clearTimeout(this.#timer)
    this.#isWanted = true
    if (!this.#isClosed) this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    const { restore, log } = this.#options
    let isWhole = false
    while (this.#isWanted && !this.#isClosed) {
      this.#isWanted = false
      try {
        isWhole = await restore()
      } catch (error) {
        isWhole = false
        if (isCloudfsError(error)) log.info({ err: error }, 'what is attached here is served later')
        else log.error({ err: error }, 'a bug')
      }
    }
    this.#running = undefined
    if (isWhole || this.#isClosed) return
    this.#timer = setTimeout(() => {
      this.#begin()
    }, this.#retryMs)
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MS_MAX)
  }
}
