/** What a host keeps in mind of one volume that it holds, from one try to lead to the next; the engine keeps what matters. */
import { type Epoch, type HostId, JoinedSignal } from '@cloudfs/interface'
import type { Told } from './candidate.js'
import type { Prepared } from './hand-over.js'
import { Mailbox } from './mailbox.js'
import type { ViewClock } from './ports.js'

/** An election takes a tenth of this where machines are not busy. */
const FAVOUR_MS = 1_000

export class Keeper {
  readonly told = new Mailbox<Told>({})
  /** Ends the try under way. */
  abort: Pick<JoinedSignal, 'abort'> | undefined
  /** An operator has it go on alone: nothing that is wished of a set whose majority is lost comes between. */
  isForced = false
  /** Until that has ended. */
  running: Promise<void> | undefined
  /** Counts what was told that calls for a try: what comes during one may change its outcome. */
  calls = 0
  /** This host is primary, and no majority's leases run. */
  hasLostLease = false
  /** Since the store's start somebody has led it, as this host knows. */
  wasLed = false
  /** For a hand-over that is to come: used once. */
  prepared: Prepared | undefined
  /** In the last try too few members answered. */
  wasCutOff = false
  /** A committed view leaves this store out, as another host has told. */
  passedBy: Epoch | undefined
  /** What a member has promised that refused this host as its primary. */
  refused: Epoch | undefined
  readonly #host: HostId
  readonly #clock: ViewClock
  /** The next try is not to wait for its turn. */
  #isUrgent = false
  /** Ends the pause before it. */
  #wake: () => void = () => undefined
  /** Until then this replica favours the host to which it has just given its promise: who wins has its view by then. */
  #favoured: { readonly host: HostId; readonly untilMs: number } | undefined

  constructor({ host, clock }: { readonly host: HostId; readonly clock: ViewClock }) {
    this.#host = host
    this.#clock = clock
  }

  favour(host: HostId): void {
    this.#favoured = { host, untilMs: this.#clock.nowMs() + FAVOUR_MS }
  }

  /** What this host stood for has failed: it is in nobody's way. */
  favourOthers(): void {
    if (this.#favoured?.host === this.#host) this.#favoured = undefined
  }

  /** For so long this replica favours another host than that. */
  againstMs(host: HostId): number {
    if (this.#favoured === undefined || this.#favoured.host === host) return 0
    return Math.max(0, this.#favoured.untilMs - this.#clock.nowMs())
  }

  get isUrgent(): boolean {
    return this.#isUrgent
  }

  hurry(): void {
    this.#isUrgent = true
    this.#wake()
  }

  /** The try begins. */
  calm(): void {
    this.#isUrgent = false
  }

  /** Unless, or until, the next try is urgent. */
  async pause(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#isUrgent) return
    using timer = new JoinedSignal([signal])
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    try {
      await Promise.race([this.#clock.sleep(ms, timer.signal), woken])
    } finally {
      timer.abort()
    }
  }
}
