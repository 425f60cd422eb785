/**
 * Finds the primaries of volumes that have lost theirs: asks those that may lead, again and again, until there is a way to one.
 * Whoever comes to lead tells besides (lead-teller.ts): of many volumes at once each asks less often.
 */
import type { HostId, VolumeId } from '@cloudfs/interface'

/** Pause before hosts are asked again who leads; doubles up to the greatest. */
const PAUSE_MS_MIN = 20
const PAUSE_MS_MAX = 1_000
/** Of more volumes at once each asks less often, and later. */
const TOGETHER = 4
const TOGETHER_MS_MAX = 2_000

interface SeekingOptions {
  /** There is a way to the primary, as far as is known here, or nobody wants one any more. */
  readonly isFound: (volume: VolumeId) => boolean
  /** Hosts that may lead. @param all - those that are known to keep the volume may keep it no longer */
  readonly candidates: (volume: VolumeId, all: boolean) => Iterable<HostId>
  /** Asks one, and takes in what it says; refusals are its own. */
  readonly ask: (volume: VolumeId, host: HostId) => Promise<void>
  /** Nothing can be made of an answer now. */
  readonly mustWait: () => boolean
  /** Has work go on that nobody waits for. */
  readonly run: (work: Promise<void>) => void
}

export class Seeking {
  readonly #options: SeekingOptions
  /** What ends the pause of each volume whose primary is asked for. */
  readonly #wakes = new Map<VolumeId, () => void>()
  /** Questions that are not answered, by volume and host. */
  readonly #asking = new Set<string>()
  #isClosed = false

  constructor(options: SeekingOptions) {
    this.#options = options
  }

  has(volume: VolumeId): boolean {
    return this.#wakes.has(volume)
  }

  /** Looks whether it is found, and asks again at once if not. */
  wake(volume: VolumeId): void {
    this.#wakes.get(volume)?.()
  }

  wakeAll(): void {
    for (const wake of [...this.#wakes.values()]) wake()
  }

  /** Resolves when it is found. @param first - waited for before anybody is asked */
  async seek(volume: VolumeId, first?: Promise<unknown>): Promise<void> {
    if (this.#wakes.has(volume)) {
      this.wake(volume)
      return
    }
    this.#wakes.set(volume, () => undefined)
    try {
      // Where many have lost their primary in one moment nobody leads yet, and those that elect somebody have enough to answer.
      let mayAsk = this.#togetherMs() === PAUSE_MS_MIN
      await first
      for (let pauseMs = PAUSE_MS_MIN; this.#isWanted(volume); mayAsk = true) {
        if (mayAsk && !this.#options.mustWait()) this.#askAll(volume, pauseMs >= PAUSE_MS_MAX)
        const isWoken = await this.#pause(volume, Math.max(pauseMs, this.#togetherMs()))
        pauseMs = isWoken ? PAUSE_MS_MIN : Math.min(2 * pauseMs, PAUSE_MS_MAX)
      }
    } finally {
      this.#wakes.delete(volume)
    }
  }

  close(): void {
    this.#isClosed = true
    this.wakeAll()
  }

  #isWanted(volume: VolumeId): boolean {
    return !this.#isClosed && !this.#options.isFound(volume)
  }

  /** Whoever has not answered yet is not asked again. */
  #askAll(volume: VolumeId, all: boolean): void {
    const { candidates, ask, run } = this.#options
    for (const host of candidates(volume, all)) {
      const asking = `${volume} ${host}`
      if (this.#asking.has(asking)) continue
      this.#asking.add(asking)
      run(ask(volume, host).finally(() => this.#asking.delete(asking)))
    }
  }

  /** @returns whether it was ended before its time */
  #pause(volume: VolumeId, ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        resolve(false)
      }, ms)
      this.#wakes.set(volume, () => {
        clearTimeout(timer)
        resolve(true)
      })
    })
  }

  #togetherMs(): number {
    return Math.min(TOGETHER_MS_MAX, PAUSE_MS_MIN * Math.ceil(this.#wakes.size / TOGETHER))
  }
}
