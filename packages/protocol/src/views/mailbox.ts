/** What the engine has told of one candidacy, for who waits until it says enough. */
import { JoinedSignal } from '@cloudfs/interface'
import type { ViewClock } from './ports.js'

export class Mailbox<State> {
  #state: State
  readonly #waiting: (() => void)[] = []

  constructor(state: State) {
    this.#state = state
  }

  get state(): State {
    return this.#state
  }

  put(change: Partial<State>): void {
    this.#state = { ...this.#state, ...change }
    for (const wake of this.#waiting.splice(0)) wake()
  }

  /** @returns what `pick` makes of the state as soon as that is something; undefined once `timeoutMs` have passed */
  async until<Picked>(
    pick: (state: State) => Picked | undefined,
    { clock, timeoutMs, signal }: { clock: ViewClock; timeoutMs: number; signal: AbortSignal },
  ): Promise<Picked | undefined> {
    using timer = new JoinedSignal([signal])
    const over = clock.sleep(timeoutMs, timer.signal).then(() => 'over' as const)
    try {
      for (;;) {
        const picked = pick(this.#state)
        if (picked !== undefined) return picked
        const changed = new Promise<'changed'>((resolve) => {
          this.#waiting.push(() => {
            resolve('changed')
          })
        })
        if ((await Promise.race([over, changed])) === 'over') return pick(this.#state)
      }
    } finally {
      timer.abort()
      over.catch(() => undefined)
    }
  }
}
