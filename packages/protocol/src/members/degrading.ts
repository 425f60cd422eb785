/**
 * What the primary of a volume of two data members and a witness does by itself (docs/protocol.md, W4): a data member that is
 * away keeps all writes waiting, for a witness does not make up for it. So the set goes on without it, degraded, and with it
 * again as soon as it has everything. Times are given.
 */
import type { HostId, StoreId, VolumeId } from '@cloudfs/interface'
import { dataOf, hasWitness, isDegraded } from '../views/witness.js'
import type { Led, Place } from './set-changes.js'

/** Connections break and are made anew within this, without the set having to change. */
export const DEGRADE_AFTER_MS = 1_000

export type DegradingStep =
  /** On without it. */
  | { readonly volume: VolumeId; readonly without: HostId }
  /** It has everything: it counts again. */
  | { readonly volume: VolumeId; readonly again: Place }

export class Degrading {
  /** Since when a data member has been away, by volume and store. */
  readonly #awayMs = new Map<string, number>()
  readonly #triedMs = new Map<VolumeId, number>()
  readonly #afterMs: number

  /** @param afterMs - a member that has been away so long is gone on without; twice as long behind a try */
  constructor(afterMs = DEGRADE_AFTER_MS) {
    this.#afterMs = afterMs
  }

  /** @param led - all volumes that are led here */
  steps(led: ReadonlyMap<VolumeId, Led>, nowMs: number): DegradingStep[] {
    const away = new Set<string>()
    const steps: DegradingStep[] = []
    for (const [volume, { members, progress }] of led) {
      if (!hasWitness(members)) continue
      const stateOf = (store: StoreId): string | undefined =>
        progress.find((each) => each.store === store)?.state
      const isTooSoon = nowMs - (this.#triedMs.get(volume) ?? Number.NEGATIVE_INFINITY) < 2 * this.#afterMs
      const gone = dataOf(members).filter(({ store }) => stateOf(store) === 'away')
      for (const { store } of gone) {
        const name = `${volume} ${store}`
        away.add(name)
        if (!this.#awayMs.has(name)) this.#awayMs.set(name, nowMs)
      }
      if (isTooSoon) continue
      const [first] = gone.filter(
        ({ store }) => nowMs - (this.#awayMs.get(`${volume} ${store}`) ?? nowMs) >= this.#afterMs,
      )
      const back = members.find(({ role, store }) => role === 'learner' && stateOf(store) === 'in-step')
      if (first !== undefined) steps.push({ volume, without: first.host })
      else if (isDegraded(members) && back !== undefined)
        steps.push({ volume, again: { host: back.host, store: back.store } })
    }
    for (const name of this.#awayMs.keys()) if (!away.has(name)) this.#awayMs.delete(name)
    for (const volume of this.#triedMs.keys()) if (!led.has(volume)) this.#triedMs.delete(volume)
    return steps
  }

  /** It is tried now. */
  tried(volume: VolumeId, nowMs: number): void {
    this.#triedMs.set(volume, nowMs)
  }
}
