/**
 * Simulated time: what is to happen, in order of when. Events of one moment happen in the order in which they were planned,
 * so a run depends on nothing but what was drawn.
 */

export const MICROSECOND = 1_000
export const MILLISECOND = 1_000_000
export const SECOND = 1_000_000_000

/** Something that will happen, unless it is cancelled. */
export interface Planned {
  readonly atNs: number
  cancel(): void
}

class Entry implements Planned {
  readonly atNs: number
  readonly order: number
  run: (() => void) | undefined

  constructor(atNs: number, order: number, run: () => void) {
    this.atNs = atNs
    this.order = order
    this.run = run
  }

  cancel(): void {
    this.run = undefined
  }
}

export class Schedule {
  #nowNs = 0
  #order = 0
  readonly #heap: Entry[] = []

  /** Nanoseconds since the beginning. */
  get nowNs(): number {
    return this.#nowNs
  }

  /** Events that are planned, cancelled ones included. */
  get length(): number {
    return this.#heap.length
  }

  /** A number greater than all given before: tells what came first within a moment. */
  nextOrder(): number {
    return ++this.#order
  }

  at(atNs: number, run: () => void): Planned {
    const entry = new Entry(Math.max(this.#nowNs, Math.floor(atNs)), this.nextOrder(), run)
    this.#push(entry)
    return entry
  }

  after(delayNs: number, run: () => void): Planned {
    return this.at(this.#nowNs + delayNs, run)
  }

  /** The next event happens, if it is due by then; else it is that time. @returns whether there was one */
  step(untilNs: number): boolean {
    for (;;) {
      const next = this.#heap[0]
      if (next === undefined || next.atNs > untilNs) {
        this.#nowNs = Math.max(this.#nowNs, untilNs)
        return false
      }
      this.#pop()
      if (next.run === undefined) continue
      this.#nowNs = next.atNs
      next.run()
      return true
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(entry)
    while (at > 0) {
      const above = (at - 1) >> 1
      const parent = heap[above] as Entry
      if (!comesBefore(entry, parent)) break
      heap[at] = parent
      at = above
    }
    heap[at] = entry
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop() as Entry
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && comesBefore(heap[child + 1] as Entry, heap[child] as Entry)) child++
      if (!comesBefore(heap[child] as Entry, last)) break
      heap[at] = heap[child] as Entry
      at = child
    }
    heap[at] = last
  }
}

function comesBefore(a: Entry, b: Entry): boolean {
  return a.atNs < b.atNs || (a.atNs === b.atNs && a.order < b.order)
}
