import { setMaxListeners } from 'node:events'

/** An abort controller whose signal many may listen to: everything that is under way at once. */
export function sharedAbortController(): AbortController {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  return controller
}

/**
 * An abort signal that ends after a time or with others, and lets go of them when done. (`AbortSignal.any` over a signal
 * that lives as long as the process keeps what it makes alive on Node 20.)
 */
export class Deadline implements Disposable {
  readonly #controller = sharedAbortController()
  readonly #timer: NodeJS.Timeout
  readonly #sources: readonly AbortSignal[]

  /** @param late - what the signal is aborted with when time is up */
  constructor(timeoutMs: number, late: () => Error, ...sources: readonly (AbortSignal | undefined)[]) {
    this.#sources = sources.filter((each) => each !== undefined)
    this.#timer = setTimeout(() => {
      this.#controller.abort(late())
    }, timeoutMs)
    for (const source of this.#sources) {
      if (source.aborted) this.#follow({ target: source })
      else source.addEventListener('abort', this.#follow)
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Ends it now. */
  abort(reason: Error): void {
    this.#controller.abort(reason)
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    for (const source of this.#sources) source.removeEventListener('abort', this.#follow)
  }

  readonly #follow = ({ target }: { target: unknown }): void => {
    this.#controller.abort(target instanceof AbortSignal ? target.reason : undefined)
  }
}

/** `work`, or the signal's reason as soon as it is aborted: work that does not listen holds up nothing but itself. */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let stop = (): void => undefined
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => {
      reject(reasonOf(signal))
    }
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop)
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** Why a signal was aborted, as an error. */
export function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error('given up', { cause: signal.reason })
}
