import { setMaxListeners } from 'node:events'
import { JoinedSignal } from '@cloudfs/interface'

/** An abort controller whose signal many may listen to: everything that is under way at once. */
export function sharedAbortController(): AbortController {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  return controller
}

/** An abort signal that ends after a time or with others, and lets go of them when done. */
export class Deadline extends JoinedSignal {
  readonly #timer: NodeJS.Timeout

  /** @param late - what the signal is aborted with when time is up */
  constructor(timeoutMs: number, late: () => Error, ...sources: readonly (AbortSignal | undefined)[]) {
    super(sources)
    setMaxListeners(0, this.signal)
    this.#timer = setTimeout(() => {
      this.abort(late())
    }, timeoutMs)
  }

  override [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    super[Symbol.dispose]()
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
