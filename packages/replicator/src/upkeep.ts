/** Brings this host's replicas in line again and again, and at once when something has changed. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { isCloudfsError } from '@cloudfs/interface'
import type { EngineSupervisor } from './engine-supervisor.js'
import type { Attachments } from './attachments.js'
import type { CatchUp } from './catch-up.js'
import type { Following } from './following.js'
import type { LeadTeller } from './lead-teller.js'
import type { Leading } from './leading.js'
import type { Leaving } from './leaving.js'
import type { Membership } from './membership.js'
import type { Viewing } from './viewing.js'

/** What no event tells is noticed within this time, on a host of few volumes. */
const INTERVAL_MS = 3_000
/** Of the time; what a store of many volumes takes longer for is looked at less often. */
const SHARE_MAX = 0.02
/** The same where something changes all the time, as when many volumes get another primary: others wait for the engine, too. */
const BUSY_SHARE_MAX = 0.2
const BUSY_PAUSE_MS_MAX = 1_000

interface UpkeepOptions {
  readonly engine: EngineSupervisor
  readonly catchUp: CatchUp
  readonly following: Following
  readonly leading: Leading
  readonly leaving: Leaving
  readonly membership: Membership
  readonly viewing: Viewing
  readonly attachments: Attachments
  readonly teller: LeadTeller
  readonly log: Logger
}

export class Upkeep {
  readonly #options: UpkeepOptions
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #isWanted = false
  #isClosed = false
  readonly #closing = new AbortController()

  constructor(options: UpkeepOptions) {
    this.#options = options
    this.#wait(INTERVAL_MS)
  }

  /** Looks at all volumes; again, if asked while it does. */
  soon(): void {
    this.#isWanted = true
    // Behind the assignment, whatever happens: without an engine `#run` ends at once.
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
      if (this.#isWanted && !this.#isClosed) this.soon()
    })
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#closing.abort()
    clearTimeout(this.#timer)
    await this.#running
  }

  #wait(pauseMs: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.soon()
    }, pauseMs)
  }

  async #run(): Promise<void> {
    const { engine, log } = this.#options
    let tookMs = 0
    while (this.#isWanted && !this.#isClosed) {
      this.#isWanted = false
      const begunMs = performance.now()
      try {
        if (engine.isUp) await this.#mend()
      } catch (error) {
        // An engine that has gone away comes back, and asks for this again.
        if (isCloudfsError(error)) log.info({ err: error }, 'replicas are looked at later')
        else log.error({ err: error }, 'a bug')
      }
      tookMs = performance.now() - begunMs
      const pauseMs = Math.min(BUSY_PAUSE_MS_MAX, tookMs / BUSY_SHARE_MAX)
      await delay(pauseMs, undefined, { signal: this.#closing.signal }).catch(() => undefined)
    }
    if (!this.#isClosed) this.#wait(Math.max(INTERVAL_MS, tookMs / SHARE_MAX))
  }

  async #mend(): Promise<void> {
    const { engine, catchUp, following, leading, leaving, membership, viewing, attachments, teller } =
      this.#options
    if ((await engine.store())?.state !== 'ready') return
    const volumes = await engine.result('volumes', { all: true })
    catchUp.look(volumes, performance.now())
    viewing.mend(volumes)
    leading.mend(volumes)
    teller.mend(volumes)
    await attachments.mend()
    membership.mend(volumes)
    await following.mend(volumes)
    await leaving.mend(volumes)
  }
}
