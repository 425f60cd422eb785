/**
 * How many volumes a host stands for at once. One host's death leaves hundreds of volumes without a primary in one moment:
 * standing for all of them together, each question waits behind all others, is given up, and asked again.
 */
import type { VolumeId } from '@cloudfs/interface'
import type { ViewClock } from './ports.js'

/** Fewer wait for disks and for each other; more do not make a host faster, and one that is slow answers them all late. */
const SLOTS = 16
/** Who takes longer waits for something that others need not wait for. */
const HOLD_MS = 1_000

/** Those of the smaller `place` come first. */
export interface Standing {
  readonly volume: VolumeId
  readonly place: number
  /** Else the volumes come in the reverse order of their ids, so that two hosts meet in the middle. */
  readonly isForward: boolean
}

interface Waiting extends Standing {
  readonly enter: (leave: () => void) => void
}

export class Slots {
  readonly #clock: ViewClock
  /** Since when each is held. */
  readonly #held = new Map<symbol, number>()
  readonly #waiting = new Set<Waiting>()
  #minding = false

  constructor(clock: ViewClock) {
    this.#clock = clock
  }

  get isFull(): boolean {
    return this.#held.size >= SLOTS
  }

  /** @returns what gives the slot back @throws the signal's reason */
  async enter(standing: Standing, signal: AbortSignal): Promise<() => void> {
    return this.isFull ? this.#wait(standing, signal) : this.#take()
  }

  /** Lets in whom those that hold on for long would keep waiting. @param signal - ends it */
  async mind(signal: AbortSignal): Promise<void> {
    if (this.#minding) return
    this.#minding = true
    while (this.#waiting.size > 0 && !signal.aborted) {
      await this.#clock.sleep(HOLD_MS / 4, signal).catch(() => undefined)
      const sinceMs = this.#clock.nowMs() - HOLD_MS
      for (const [slot, heldMs] of this.#held) if (heldMs <= sinceMs) this.#held.delete(slot)
      this.#letIn()
    }
    this.#minding = false
  }

  #letIn(): void {
    for (let free = SLOTS - this.#held.size; free > 0; free--) {
      const [next] = [...this.#waiting].sort(inOrder)
      if (next === undefined) return
      this.#waiting.delete(next)
      next.enter(this.#take())
    }
  }

  #take(): () => void {
    const slot = Symbol()
    this.#held.set(slot, this.#clock.nowMs())
    return () => {
      if (this.#held.delete(slot)) this.#letIn()
    }
  }

  #wait(standing: Standing, signal: AbortSignal): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        this.#waiting.delete(waiting)
        reject(signal.reason instanceof Error ? signal.reason : new Error('given up'))
      }
      const waiting: Waiting = {
        ...standing,
        enter: (leave) => {
          signal.removeEventListener('abort', giveUp)
          resolve(leave)
        },
      }
      signal.throwIfAborted()
      signal.addEventListener('abort', giveUp, { once: true })
      this.#waiting.add(waiting)
    })
  }
}

function inOrder(one: Standing, other: Standing): number {
  const byId = one.volume < other.volume ? -1 : 1
  return one.place - other.place || (one.isForward ? byId : -byId)
}
