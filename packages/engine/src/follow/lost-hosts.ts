/**
 * Engines that cannot be reached. A host that dies is lost to all volumes that are followed there in one moment: each by itself would
 * try to reach it again and again, while this host has others to elect. Together they try so often, and as soon as one has got
 * through all do.
 */

/** For each volume that waits: how much longer all of them wait. */
const PAUSE_MS_EACH = 10
/** At most: a host that is back is found by then. */
const PAUSE_MS_MAX = 3_000

export class LostHosts {
  /** What ends the pauses of those that wait for it, by address. */
  readonly #waiting = new Map<string, Set<() => void>>()

  /** Whoever waits for that address need not any longer. */
  found(address: string): void {
    for (const wake of [...(this.#waiting.get(address) ?? [])]) wake()
  }

  /** Waits before it is tried again, `ms` at least, unless another gets through before. */
  pause(address: string, ms: number, signal: AbortSignal): Promise<void> {
    const waiting = this.#waiting.get(address) ?? new Set()
    this.#waiting.set(address, waiting)
    const pauseMs = Math.max(ms, Math.min(PAUSE_MS_MAX, PAUSE_MS_EACH * waiting.size))
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        waiting.delete(done)
        if (waiting.size === 0 && this.#waiting.get(address) === waiting) this.#waiting.delete(address)
        signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, pauseMs)
      waiting.add(done)
      signal.addEventListener('abort', done, { once: true })
      if (signal.aborted) done()
    })
  }
}
