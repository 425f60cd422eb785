/** What is done to one volume is done one after another. */
import type { VolumeId } from '@cloudfs/interface'

export class Turns {
  readonly #last = new Map<VolumeId, Promise<void>>()

  /** Begins when what was asked for before has ended, however that went. */
  async take<Result>(volume: VolumeId, act: () => Promise<Result>): Promise<Result> {
    const result = (this.#last.get(volume) ?? Promise.resolve()).then(act)
    const turn = result.then(
      () => undefined,
      () => undefined,
    )
    this.#last.set(volume, turn)
    try {
      return await result
    } finally {
      if (this.#last.get(volume) === turn) this.#last.delete(volume)
    }
  }
}
