/**
 * A host's own clock: it starts anywhere, goes a little too fast or too slow, and runs on while the host is suspended
 * (CLOCK_BOOTTIME). It never goes back, but by a boot.
 */
import type { Schedule } from './schedule.js'

export class Clock {
  readonly #schedule: Schedule
  #rate: number
  #worldNs: number
  #localNs: number

  /** @param rate - nanoseconds of this clock in one of the world's */
  constructor(schedule: Schedule, localNs: number, rate: number) {
    this.#schedule = schedule
    this.#worldNs = schedule.nowNs
    this.#localNs = localNs
    this.#rate = rate
  }

  /** Nanoseconds that this clock shows. */
  now(): number {
    return this.#localNs + Math.floor((this.#schedule.nowNs - this.#worldNs) * this.#rate)
  }

  /** The world's time from which on this clock shows `localNs`. */
  worldTimeOf(localNs: number): number {
    return this.#worldNs + Math.ceil((localNs - this.#localNs) / this.#rate)
  }

  /** From now on it goes at another rate. */
  drift(rate: number): void {
    this.#localNs = this.now()
    this.#worldNs = this.#schedule.nowNs
    this.#rate = rate
  }

  /** A boot: it begins anew. */
  restart(localNs: number): void {
    this.#localNs = localNs
    this.#worldNs = this.#schedule.nowNs
  }
}
