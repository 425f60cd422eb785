/** Counts what a run went through: a search that never met a fault says nothing about it. */

/** Times that something happened, by its name: `fault:…`, `protocol:…`, `rule:…`, `client:…`. */
export type Counts = Readonly<Record<string, number>>

export class Coverage {
  readonly #counts = new Map<string, number>()

  count(name: string, times = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + times)
  }

  add(counts: Counts): void {
    for (const [name, times] of Object.entries(counts)) this.count(name, times)
  }

  /** By name, in order. */
  get counts(): Counts {
    return Object.fromEntries([...this.#counts].toSorted(([a], [b]) => (a < b ? -1 : 1)))
  }
}
