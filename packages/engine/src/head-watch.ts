/** Waits for heads to move. */
import type { VolumeId } from '@cloudfs/interface'

export class HeadWatch {
  readonly #waiting = new Map<VolumeId, Set<() => void>>()

  /** Resolves when the volume's head next moves, or `signal` says so; begins to listen at once. */
  next(volume: VolumeId, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(volume) ?? new Set()
      this.#waiting.set(volume, waiting)
      const done = (): void => {
        waiting.delete(done)
        if (waiting.size === 0) this.#waiting.delete(volume)
        signal.removeEventListener('abort', done)
        resolve()
      }
      waiting.add(done)
      signal.addEventListener('abort', done, { once: true })
      if (signal.aborted) done()
    })
  }

  onMoved(volume: VolumeId): void {
    for (const done of [...(this.#waiting.get(volume) ?? [])]) done()
  }
}
