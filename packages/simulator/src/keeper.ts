/** What an engine process does by itself for its store: the shipped cleaner, on simulated time. */
import { Cleaner } from '@cloudfs/engine'
import type { CoreEvent } from '@cloudfs/interface'
import type { PolicyPorts } from './policy.js'

export class Keeper {
  readonly #cleaner: Cleaner

  constructor({ command, clock }: PolicyPorts, segmentBytes: number) {
    this.#cleaner = new Cleaner({
      command,
      segmentBytes,
      log: { warn: () => undefined, debug: () => undefined },
      later: (ms, then) => {
        const timer = new AbortController()
        clock.sleep(ms, timer.signal).then(then, () => undefined)
        return () => {
          timer.abort(new Error('cancelled'))
        }
      },
    })
  }

  onEvent(event: CoreEvent): void {
    this.#cleaner.onEvent(event)
  }
}
