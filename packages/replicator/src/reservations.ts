/** Room that this host keeps for replicas it was asked to take, until they come or their time is up. */
import { ReservationError } from './errors.js'

/** Creating a volume takes a second on a busy cluster; a coordinator that died must not hold room for long. */
export const RESERVATION_MS = 30_000
/** Past this, whoever asks is refused: each is a creation under way. */
const RESERVATIONS_MAX = 256

export class Reservations {
  readonly #now: () => number
  readonly #kept = new Map<string, { readonly bytes: number; readonly untilMs: number }>()

  /** @param now - monotonic, in milliseconds */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Bytes kept just now. */
  get bytes(): number {
    this.#reap()
    let sum = 0
    for (const { bytes } of this.#kept.values()) sum += bytes
    return sum
  }

  /** Keeps `bytes` of the `freeBytes` there are. @throws {ReservationError} there is no room for it */
  keep(id: string, bytes: number, freeBytes: number): void {
    const left = freeBytes - this.bytes
    if (bytes > left) {
      throw new ReservationError('no room is left for the replica', { needBytes: bytes, freeBytes: left })
    }
    if (this.#kept.size >= RESERVATIONS_MAX) throw new ReservationError('too many creations are under way')
    this.#kept.set(id, { bytes, untilMs: this.#now() + RESERVATION_MS })
  }

  release(id: string): void {
    this.#kept.delete(id)
  }

  #reap(): void {
    const now = this.#now()
    for (const [id, { untilMs }] of this.#kept) if (untilMs <= now) this.#kept.delete(id)
  }
}
