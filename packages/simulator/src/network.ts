/**
 * What lies between hosts. Connections keep the order of what is sent and stall while a direction is cut off, as TCP does;
 * single messages are lost, doubled and overtaken.
 */
import type { Coverage } from './coverage.js'
import { chance, type Random, spread } from './random.js'
import { MICROSECOND, MILLISECOND, type Planned, type Schedule, SECOND } from './schedule.js'

interface NetworkParts {
  readonly schedule: Schedule
  readonly random: Random
  readonly coverage: Coverage
  readonly hostCount: number
}

/** From one host to another. */
interface Link {
  /** Faults that cut it off now. */
  cuts: number
  slowness: number
  stalled: Set<{ retry(): void }>
}

/** A retransmission comes at most so long after a direction is whole again. */
const RETRY_NS_MAX = 200 * MILLISECOND
/** What is not confirmed for so long ends the connection: `TCP_USER_TIMEOUT` of update streams (native/src/shell/stream.h). */
const UNCONFIRMED_NS_MAX = 15 * SECOND

export class Network {
  readonly #parts: NetworkParts
  readonly #links: Link[]
  /** Of single messages. */
  lostShare = 0
  doubledShare = 0

  constructor(parts: NetworkParts) {
    this.#parts = parts
    this.#links = Array.from({ length: parts.hostCount ** 2 }, () => ({
      cuts: 0,
      slowness: 1,
      stalled: new Set(),
    }))
  }

  /** Nothing passes in this direction until what this gives is called. */
  cutOff(from: number, to: number): () => void {
    const link = this.#link(from, to)
    link.cuts++
    return () => {
      if (--link.cuts > 0) return
      const stalled = [...link.stalled]
      link.stalled.clear()
      for (const pipe of stalled)
        this.#parts.schedule.after(this.#parts.random() * RETRY_NS_MAX, () => {
          pipe.retry()
        })
    }
  }

  isCut(from: number, to: number): boolean {
    return this.#link(from, to).cuts > 0
  }

  /** Everything in this direction takes `slowness` times as long from now on. */
  slow(from: number, to: number, slowness: number): void {
    this.#link(from, to).slowness = slowness
  }

  delayNs(from: number, to: number): number {
    if (from === to) return spread(this.#parts.random, 5 * MICROSECOND, 50 * MICROSECOND)
    return spread(this.#parts.random, 40 * MICROSECOND, 600 * MICROSECOND) * this.#link(from, to).slowness
  }

  /** One direction of a connection. @param giveUp - who sends hears nothing for so long that the connection is over for it */
  pipe<T>(from: number, to: number, deliver: (item: T) => void, giveUp?: () => void): Pipe<T> {
    return new Pipe(this, this.#parts.schedule, from, to, deliver, giveUp)
  }

  /** A single message: it comes once, twice or never. */
  send(from: number, to: number, deliver: () => void): void {
    const { random, coverage, schedule } = this.#parts
    if (from !== to && (this.isCut(from, to) || chance(random, this.lostShare))) {
      coverage.count('fault:message-lost')
      return
    }
    if (from !== to && chance(random, this.doubledShare)) {
      coverage.count('fault:message-doubled')
      schedule.after(10 * this.delayNs(from, to), deliver)
    }
    schedule.after(this.delayNs(from, to) * (chance(random, 0.05) ? 20 : 1), deliver)
  }

  /** @internal of pipes */
  stall(from: number, to: number, pipe: { retry(): void }): void {
    this.#link(from, to).stalled.add(pipe)
  }

  #link(from: number, to: number): Link {
    const link = this.#links[from * this.#parts.hostCount + to]
    if (link === undefined) throw new Error(`there is no way from ${String(from)} to ${String(to)}`)
    return link
  }
}

export class Pipe<T> {
  readonly #network: Network
  readonly #schedule: Schedule
  readonly #from: number
  readonly #to: number
  readonly #deliver: (item: T) => void
  readonly #giveUp: (() => void) | undefined
  readonly #queue: { readonly item: T; readonly arrivesNs: number }[] = []
  #newestNs = 0
  #next: Planned | undefined
  #givesUp: Planned | undefined
  #isStalled = false
  #isClosed = false

  constructor(
    network: Network,
    schedule: Schedule,
    from: number,
    to: number,
    deliver: (item: T) => void,
    giveUp?: () => void,
  ) {
    this.#network = network
    this.#schedule = schedule
    this.#from = from
    this.#to = to
    this.#deliver = deliver
    this.#giveUp = giveUp
  }

  push(item: T): void {
    if (this.#isClosed) return
    this.#newestNs = Math.max(
      this.#newestNs,
      this.#schedule.nowNs + this.#network.delayNs(this.#from, this.#to),
    )
    this.#queue.push({ item, arrivesNs: this.#newestNs })
    if (!this.#isStalled) this.#plan()
  }

  /** What is on its way never comes. */
  close(): void {
    this.#isClosed = true
    this.#queue.length = 0
    this.#next?.cancel()
    this.#givesUp?.cancel()
  }

  /** @internal the way may be free again */
  retry(): void {
    this.#isStalled = false
    this.#givesUp?.cancel()
    this.#givesUp = undefined
    this.#plan()
  }

  #plan(): void {
    const head = this.#queue[0]
    if (head === undefined || this.#next !== undefined) return
    this.#next = this.#schedule.at(head.arrivesNs, () => {
      this.#next = undefined
      this.#arrive()
    })
  }

  #arrive(): void {
    if (this.#network.isCut(this.#from, this.#to)) {
      this.#isStalled = true
      if (this.#giveUp !== undefined) this.#givesUp ??= this.#schedule.after(UNCONFIRMED_NS_MAX, this.#giveUp)
      this.#network.stall(this.#from, this.#to, this)
      return
    }
    const head = this.#queue.shift()
    if (head === undefined) return
    this.#deliver(head.item)
    this.#plan()
  }
}
