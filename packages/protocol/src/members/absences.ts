/** Which members of the volumes led here have been away for so long that others are to take their places. Times are given. */
import type { HostId, StoreId, VolumeId } from '@cloudfs/interface'
import { isDegraded } from '../views/witness.js'
import type { Led } from './set-changes.js'

/** Where nobody could take the place of a member that is gone, it is tried again behind this. */
const REBUILD_AGAIN_MS = 30_000

/** A member that is to be replaced. */
export interface Gone {
  readonly volume: VolumeId
  readonly host: HostId
}

export class Absences {
  readonly #replaceAfterMs: number
  /** Since when a member has been away, by volume and store. */
  readonly #awayMs = new Map<string, number>()
  /** When it was last tried to replace one. */
  readonly #triedMs = new Map<VolumeId, number>()

  constructor(replaceAfterMs: number) {
    this.#replaceAfterMs = replaceAfterMs
  }

  /**
   * @param led - all volumes that are led here
   * @returns members with data that have been away too long, of each volume one; who is told so tries to replace them
   */
  overdue(led: ReadonlyMap<VolumeId, Led>, nowMs: number): Gone[] {
    const away = new Set<string>()
    const gone: Gone[] = []
    for (const [volume, { members, progress }] of led)
      for (const { host, store, state } of progress) {
        if (state !== 'away') continue
        const name = nameOf(volume, store)
        away.add(name)
        const since = this.#awayMs.get(name) ?? nowMs
        this.#awayMs.set(name, since)
        const member = members.find((each) => each.store === store)
        // One that a degraded set went on without is missed as if it voted.
        const isMissed = member?.role === 'data' || (member?.role === 'learner' && isDegraded(members))
        if (!isMissed) continue
        if (nowMs - since < this.#replaceAfterMs) continue
        if (nowMs - (this.#triedMs.get(volume) ?? Number.NEGATIVE_INFINITY) < REBUILD_AGAIN_MS) continue
        gone.push({ volume, host })
      }
    for (const name of this.#awayMs.keys()) if (!away.has(name)) this.#awayMs.delete(name)
    for (const [volume, ms] of this.#triedMs) if (nowMs - ms >= REBUILD_AGAIN_MS) this.#triedMs.delete(volume)
    return gone.filter(({ volume }, at) => gone.findIndex((each) => each.volume === volume) === at)
  }

  /** It is tried now. */
  tried(volume: VolumeId, nowMs: number): void {
    this.#triedMs.set(volume, nowMs)
  }
}

function nameOf(volume: VolumeId, store: StoreId): string {
  return `${volume} ${store}`
}
