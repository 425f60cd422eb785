/** The streams that a store took over, by their numbers, and who waits for their ends. */
import type { AdoptedStream } from '@cloudfs/native'

/** What of a store this needs. */
export interface StreamStore {
  adoptStream(stream: AdoptedStream): Promise<number>
  closeStream(stream: number): void
}

/** Why one of a stream's sides ended it. */
export interface StreamRefusal {
  readonly code: string
  readonly message: string
}

/** A stream that runs until `ended` resolves. */
export interface RunningStream {
  readonly ended: Promise<StreamRefusal | undefined>
  /** Ends it; nothing happens if it has ended. */
  readonly close: () => void
}

export class AdoptedStreams {
  readonly #running = new Map<number, (refusal: StreamRefusal | undefined) => void>()
  /** Ends that came before the numbers were known; kept while any number is awaited. */
  readonly #early = new Map<number, StreamRefusal | undefined>()
  #awaited = 0

  async adopt(store: StreamStore, stream: AdoptedStream): Promise<RunningStream> {
    this.#awaited++
    try {
      const number = await store.adoptStream(stream)
      const ended = this.#early.has(number)
        ? Promise.resolve(this.#early.get(number))
        : new Promise<StreamRefusal | undefined>((resolve) => this.#running.set(number, resolve))
      return {
        ended,
        close: () => {
          if (this.#running.has(number)) store.closeStream(number)
        },
      }
    } finally {
      if (--this.#awaited === 0) this.#early.clear()
    }
  }

  /** The store said `stream-ended`. */
  onEnded(number: number, refusal?: StreamRefusal): void {
    const resolve = this.#running.get(number)
    if (resolve !== undefined) resolve(refusal)
    else if (this.#awaited > 0) this.#early.set(number, refusal)
    this.#running.delete(number)
  }
}
