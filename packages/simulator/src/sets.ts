/** Who keeps the volume, as those who led it made it known; and what its members went through, counted. */
import type { Coverage } from './coverage.js'
import type { Host } from './host.js'

/** A member of a view. */
export interface SetMember {
  /** Of its host. */
  readonly index: number
  readonly isVoter: boolean
}

export class Sets {
  readonly first: readonly Host[]
  readonly #coverage: Coverage
  readonly #views = new Map<string, readonly SetMember[]>()
  #now: readonly SetMember[]
  /** Hosts that were members and are not. */
  readonly #left = new Set<number>()
  /** And have nothing of it any more. */
  readonly #dropped = new Set<number>()

  /** @param first - those that it was made with */
  constructor(coverage: Coverage, first: readonly Host[]) {
    this.#coverage = coverage
    this.first = first
    this.#now = first.map(({ index }) => ({ index, isVoter: true }))
  }

  /** Of the view that was committed last. */
  get now(): readonly SetMember[] {
    return this.#now
  }

  /** A view of an epoch is about to be made. */
  onView(epoch: string, members: readonly SetMember[]): void {
    this.#views.set(epoch, members)
  }

  /** It is another set than the one before. */
  isChange(epoch: string): boolean {
    return JSON.stringify(this.#views.get(epoch)) !== JSON.stringify(this.#now)
  }

  /** And is committed. */
  onLeading(epoch: string): void {
    const next = this.#views.get(epoch)
    if (next === undefined) return
    const before = this.#now
    this.#now = next
    for (const { index, isVoter } of next) {
      const was = before.find((one) => one.index === index)
      if (was === undefined) {
        this.#coverage.count('member:learner added')
        if (this.#left.delete(index)) this.#coverage.count('member:rejoined')
        if (this.#dropped.delete(index)) this.#coverage.count('member:rejoined with nothing')
      } else if (isVoter && !was.isVoter) {
        this.#coverage.count('member:learner votes')
      }
    }
    for (const { index, isVoter } of before) {
      if (next.some((one) => one.index === index)) continue
      this.#coverage.count(isVoter ? 'member:left' : 'member:learner left')
      this.#left.add(index)
    }
  }

  onDropped(index: number): void {
    this.#coverage.count('member:dropped')
    this.#dropped.add(index)
  }
}
