/** Lets a bounded number through at once, and a bounded number wait. */
export class Gate {
  readonly #runningMax: number
  readonly #waitingMax: number
  #running = 0
  readonly #waiting = new Set<() => void>()

  constructor(runningMax: number, waitingMax: number) {
    this.#runningMax = runningMax
    this.#waitingMax = waitingMax
  }

  get running(): number {
    return this.#running
  }

  /** Takes a place if one is free now. Whoever gets one calls `leave`, once. */
  tryEnter(): boolean {
    if (this.#running >= this.#runningMax) return false
    this.#running++
    return true
  }

  /**
   * Runs `work` when there is a place, in order of calls.
   *
   * @param full - makes the error for a call that finds every waiting place taken
   * @throws the signal's reason, if it gives up while waiting; what `work` throws
   */
  async run<T>(work: () => Promise<T>, full: () => Error, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted()
    if (!this.tryEnter()) {
      if (this.#waiting.size >= this.#waitingMax) throw full()
      await this.#wait(signal)
    }
    try {
      return await work()
    } finally {
      this.leave()
    }
  }

  /** Gives the place back: to whoever has waited longest. */
  leave(): void {
    const [next] = this.#waiting
    if (next === undefined) {
      this.#running--
    } else {
      this.#waiting.delete(next)
      next()
    }
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const enter = () => {
        signal?.removeEventListener('abort', giveUp)
        resolve()
      }
      const giveUp = () => {
        this.#waiting.delete(enter)
        reject(signal?.reason instanceof Error ? signal.reason : new Error('given up'))
      }
      this.#waiting.add(enter)
      signal?.addEventListener('abort', giveUp, { once: true })
    })
  }
}
