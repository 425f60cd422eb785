/**
 * What happened, for people and for comparison. Every line begins with the simulated time and whom it is about; the
 * fingerprint stands for all of them, also for those that are not written.
 */
import type { Schedule } from './schedule.js'

/** `story`: faults, clients' losses, protocol; `all`: every event. */
export type LogLevel = 'none' | 'story' | 'all'

export class Log {
  readonly #schedule: Schedule
  readonly #sink: ((line: string) => void) | undefined
  readonly isAll: boolean
  #fingerprint = 0x811c9dc5

  constructor(schedule: Schedule, level: LogLevel, sink?: (line: string) => void) {
    this.#schedule = schedule
    this.#sink = level === 'none' ? undefined : sink
    this.isAll = level === 'all' && sink !== undefined
  }

  /** Differs, as good as surely, where anything that happened does. */
  get fingerprint(): string {
    return this.#fingerprint.toString(16).padStart(8, '0')
  }

  story(who: string, what: string): void {
    for (let index = 0; index < what.length; index++) this.#mix(what.charCodeAt(index))
    this.#mix(this.#schedule.nowNs)
    this.#write(who, what)
  }

  /** One of very many. `what` is put into words only where somebody reads them. */
  event(who: string, value: number, what: () => string): void {
    this.#mix(value)
    this.#mix(this.#schedule.nowNs)
    if (this.isAll) this.#write(who, what())
  }

  #write(who: string, what: string): void {
    if (this.#sink === undefined) return
    const us = Math.floor(this.#schedule.nowNs / 1000)
    const time = `${String(Math.floor(us / 1e6))}.${String(us % 1e6).padStart(6, '0')}`
    this.#sink(`${time.padStart(11)} ${who.padEnd(8)} ${what}`)
  }

  #mix(value: number): void {
    this.#fingerprint = Math.imul(this.#fingerprint ^ (value >>> 0), 0x01000193) >>> 0
    this.#fingerprint = Math.imul(this.#fingerprint ^ Math.floor(value / 2 ** 32), 0x01000193) >>> 0
  }
}
