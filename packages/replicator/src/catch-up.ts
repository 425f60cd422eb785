/** How fast replicas get what they lack, and how long that takes yet. */
import type { StoreId, VolumeId, VolumeStatus } from '@cloudfs/interface'

const SECOND_MS = 1_000
/** What was measured this long ago counts for about a third. */
const MEMORY_MS = 15_000
/** Nothing is measured over less. */
const STEP_MS_MIN = 500
/** A time further off is no help to anybody. */
const ETA_S_MAX = 30 * 24 * 3_600

/** What a replica lacks, and how fast that has become less: clients that write make it more. */
export interface Lack {
  readonly atMs: number
  readonly behindBytes: number
  /** Below 0 where it becomes more; undefined: seen once only. */
  readonly bytesPerSecond?: number
}

/** What is known of a replica when it lacks so much now. */
export function lackAfter(before: Lack | undefined, atMs: number, behindBytes: number): Lack {
  if (before === undefined) return { atMs, behindBytes }
  const stepMs = atMs - before.atMs
  if (stepMs < STEP_MS_MIN) return before
  const measured = ((before.behindBytes - behindBytes) * SECOND_MS) / stepMs
  const share = Math.exp(-stepMs / MEMORY_MS)
  const bytesPerSecond =
    before.bytesPerSecond === undefined ? measured : measured + share * (before.bytesPerSecond - measured)
  return { atMs, behindBytes, bytesPerSecond }
}

/** undefined: it does not get nearer, or nobody can tell. */
export function etaSecondsOf(behindBytes: number, bytesPerSecond: number | undefined): number | undefined {
  if (bytesPerSecond === undefined || bytesPerSecond <= 0) return undefined
  const seconds = Math.ceil(behindBytes / bytesPerSecond)
  return seconds <= ETA_S_MAX ? seconds : undefined
}

/** The replicas of volumes that are led here. */
export class CatchUp {
  readonly #lacks = new Map<string, Lack>()

  /** `volumes` are all that the store has. */
  look(volumes: readonly VolumeStatus[], nowMs: number): void {
    const behind = new Set<string>()
    for (const { volume, role, members = [] } of volumes) {
      if (role !== 'primary') continue
      for (const { store, state, behindBytes = 0 } of members) {
        // One that is away lacks more and more, which says nothing of how fast it gets it.
        if (state !== 'behind' || behindBytes === 0) continue
        const name = nameOf(volume, store)
        behind.add(name)
        this.#lacks.set(name, lackAfter(this.#lacks.get(name), nowMs, behindBytes))
      }
    }
    for (const name of this.#lacks.keys()) if (!behind.has(name)) this.#lacks.delete(name)
  }

  /** By how many bytes a second a replica comes nearer; 0: it does not. undefined: not known, or nothing is lacking. */
  rateOf(volume: VolumeId, store: StoreId): number | undefined {
    const rate = this.#lacks.get(nameOf(volume, store))?.bytesPerSecond
    return rate === undefined ? undefined : Math.max(0, Math.round(rate))
  }
}

function nameOf(volume: VolumeId, store: StoreId): string {
  return `${volume} ${store}`
}
