/**
 * Has the core read all blocks that any version of a store needs, slowly and again and again, so that a block that rots is
 * found, and had from another replica, while there is one that is good. The core says where a pass stands; here is decided
 * when it goes on. A pass that an end of the engine cuts short begins anew.
 */
import type { CoreCommands, ScrubStatus, ScrubStep } from '@cloudfs/interface'
import type { Logger } from 'pino'

const SCRUB_BYTES_PER_SECOND = 4 * 1024 * 1024
/** A store that has just started has better things to do; passes follow each other at this distance. */
const FIRST_PASS_MS = 10 * 60_000
const BETWEEN_PASSES_MS = 24 * 3_600_000
/** Blocks of one step: a client's read waits behind that many at most. */
const STEP_BLOCKS = 64
const STEP_BLOCKS_ASKED = 512
const BLOCK_BYTES = 4096

type ScrubVerb = 'scrub' | 'stats'

export interface ScrubberOptions {
  readonly command: <V extends ScrubVerb>(
    verb: V,
    args: CoreCommands[V]['args'],
  ) => Promise<CoreCommands[V]['result']>
  /** 0 = only when asked for. */
  readonly bytesPerSecond?: number
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
  /** Calls `then` after `ms`; @returns how to cancel that. */
  readonly later?: (ms: number, then: () => void) => () => void
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

interface Pass {
  readonly isAsked: boolean
  at: { node: number; block: number }
  blocks: number
  corrupt: number
  repaired: number
  pagesCorrupt: number
  liveBytes: number
}

const NO_PASS: Pass = {
  isAsked: false,
  at: { node: 0, block: 0 },
  blocks: 0,
  corrupt: 0,
  repaired: 0,
  pagesCorrupt: 0,
  liveBytes: 0,
}

export class Scrubber {
  readonly #options: ScrubberOptions
  readonly #bytesPerSecond: number
  #pass: Pass = NO_PASS
  #isRunning = false
  #step: Promise<void> | undefined
  #cancel: (() => void) | undefined
  /** What is to be done when the step going on has ended. */
  #next: (() => void) | undefined
  #passes = 0
  #endedMs = 0
  #closed = false

  constructor(options: ScrubberOptions) {
    this.#options = options
    this.#bytesPerSecond = options.bytesPerSecond ?? SCRUB_BYTES_PER_SECOND
  }

  /** The store is ready. */
  start(): void {
    if (this.#bytesPerSecond > 0) this.#wait(FIRST_PASS_MS, () => this.#begin(false))
  }

  /** A pass from the beginning, as fast as it goes. */
  scrubNow(): void {
    if (!this.#closed) this.#begin(true)
  }

  get status(): ScrubStatus {
    const { blocks, corrupt, repaired, pagesCorrupt, liveBytes } = this.#pass
    return {
      scrubRunning: this.#isRunning ? 1 : 0,
      scrubPassBytes: blocks * BLOCK_BYTES,
      scrubLiveBytes: liveBytes,
      scrubPassCorrupt: corrupt,
      scrubPassRepaired: repaired,
      scrubPassPagesCorrupt: pagesCorrupt,
      scrubPasses: this.#passes,
      scrubEndedSeconds: Math.floor(this.#endedMs / 1000),
    }
  }

  /** Waits for the step going on; none starts any more. */
  async close(): Promise<void> {
    this.#closed = true
    this.#cancel?.()
    await this.#step
  }

  #begin(isAsked: boolean): void {
    this.#pass = { ...NO_PASS, isAsked, at: { node: 0, block: 0 } }
    this.#isRunning = true
    this.#goOn()
  }

  /** One step at a time: that of a pass that began anew ends first. */
  #goOn(): void {
    this.#cancel?.()
    this.#cancel = undefined
    if (this.#step !== undefined || this.#closed) return
    this.#step = this.#read(this.#pass)
      .catch((error: unknown) => {
        // A store that failed or was closed says so to everyone.
        this.#options.log.warn({ err: error }, 'reading for rot stopped')
        this.#isRunning = false
        this.#next = undefined
      })
      .finally(() => {
        this.#step = undefined
        const next = this.#next
        this.#next = undefined
        next?.()
      })
  }

  async #read(pass: Pass): Promise<void> {
    const { command } = this.#options
    if (pass.blocks === 0) pass.liveBytes = (await command('stats', {}))['liveBytes'] ?? 0
    const blocksMax = pass.isAsked ? STEP_BLOCKS_ASKED : STEP_BLOCKS
    const step = await command('scrub', { ...pass.at, blocksMax })
    this.#next = () => {
      if (pass === this.#pass) this.#took(pass, step)
      else this.#goOn()
    }
  }

  #took(pass: Pass, step: ScrubStep): void {
    pass.at = { node: step.node, block: step.block }
    pass.blocks += step.blocks
    pass.corrupt += step.corrupt
    pass.repaired += step.repaired
    pass.pagesCorrupt += step.pagesCorrupt
    if (step.done) this.#end(pass)
    else if (pass.isAsked) this.#goOn()
    else this.#wait((step.blocks * BLOCK_BYTES * 1000) / this.#bytesPerSecond, () => this.#goOn())
  }

  #end(pass: Pass): void {
    const { log, now = Date.now } = this.#options
    this.#isRunning = false
    this.#passes++
    this.#endedMs = now()
    const { blocks, corrupt, repaired, pagesCorrupt } = pass
    const found = { blocks, corrupt, repaired, pagesCorrupt }
    if (corrupt > repaired || pagesCorrupt > 0)
      log.error(found, 'the store was read: some of it is bad, and no replica has it good')
    else log.info(found, 'the store was read')
    if (this.#bytesPerSecond > 0) this.#wait(BETWEEN_PASSES_MS, () => this.#begin(false))
  }

  #wait(ms: number, then: () => void): void {
    this.#cancel?.()
    if (this.#closed) return
    this.#cancel = (this.#options.later ?? laterByTimer)(ms, () => {
      this.#cancel = undefined
      then()
    })
  }
}

function laterByTimer(ms: number, then: () => void): () => void {
  const timer = setTimeout(then, ms)
  // It keeps no engine from its end.
  timer.unref()
  return () => {
    clearTimeout(timer)
  }
}
