/**
 * Keeps an engine at hand: finds the one that runs or starts one, and does so again whenever it goes away. Ending the
 * supervisor leaves the engine alone.
 */
import { EventEmitter } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { EngineCommands, EngineEvent, EngineVerb, StoreId, StoreStatus } from '@cloudfs/interface'
import { EngineGoneError, StoreNotReadyError } from '@cloudfs/interface'
import type { Logger } from 'pino'
import type { Config } from './config.js'
import { type EngineAnswer, EngineClient } from './engine-client.js'
import { controlSocketOf, lastWords, startEngine, type StartedEngine } from './engine-process.js'
import { EngineStartError } from './errors.js'

/** How often a starting engine is looked for. */
const POLL_MS = 20
/** An engine that has not opened its socket by then has hung: Node itself starts in a tenth of a second. */
const START_TIMEOUT_MS = 20_000
/** Pause before an engine that went away is started again; doubles up to the greatest while it keeps failing. */
const RESTART_MS_MIN = 100
const RESTART_MS_MAX = 5_000

export interface EngineSupervisorEvents {
  /** Connected, to an engine that was found or started. */
  up: []
  down: []
  event: [EngineEvent]
}

export class EngineSupervisor extends EventEmitter<EngineSupervisorEvents> {
  readonly #config: Config
  readonly #log: Logger
  readonly #closing = new AbortController()
  #client: EngineClient | undefined
  #watching: Promise<void> | undefined
  /** The last engine that was started here. */
  #started: StartedEngine | undefined
  #starts = 0
  /** Of the engine that is connected, since it was ready. */
  #storeId: StoreId | undefined

  constructor(config: Config, log: Logger) {
    super()
    this.#config = config
    this.#log = log
  }

  /** Whether an engine is connected now. */
  get isUp(): boolean {
    return this.#client !== undefined
  }

  /** Engines started by this supervisor. */
  get starts(): number {
    return this.#starts
  }

  /**
   * Resolves once an engine answers; from then on it is kept up until `close`.
   *
   * @throws {EngineStartError} the engine ended at once, or did not open its socket in time
   */
  async start(): Promise<void> {
    await this.#bringUp()
    this.#watching = this.#watch()
  }

  /** Has the engine carry out a command. @throws as `EngineClient.call`; {EngineGoneError} none is connected now */
  async call<V extends EngineVerb>(
    verb: V,
    args: EngineCommands[V]['args'],
    payload?: Uint8Array,
  ): Promise<EngineAnswer<V>> {
    if (this.#client === undefined) throw new EngineGoneError('the engine is being started again')
    return this.#client.call(verb, args, {
      store: this.#config.store,
      ...(payload === undefined ? {} : { payload }),
    })
  }

  /** The result of a command without payload. */
  async result<V extends EngineVerb>(
    verb: V,
    args: EngineCommands[V]['args'],
  ): Promise<EngineCommands[V]['result']> {
    return (await this.call(verb, args)).result
  }

  /** The node's store, as its engine tells. */
  async store(): Promise<StoreStatus | undefined> {
    const stores = await this.result('stores', {})
    const status = stores.find(({ path }) => path === this.#config.store)
    if (status?.state === 'ready') this.#storeId = status.store
    return status
  }

  /**
   * The store that this host keeps replicas in. Who is a member, and whose replica nobody needs, is decided by it: there is no
   * value that stands for one that is not known.
   *
   * @throws {StoreNotReadyError} no store was found ready since the engine is up
   */
  get storeId(): StoreId {
    if (this.#storeId === undefined) throw new StoreNotReadyError('the store is not known to be ready yet')
    return this.#storeId
  }

  /** Lets go of the engine, which goes on. May be called twice. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#client?.close()
    await this.#watching
  }

  /** Closes, and ends the engine if it was started here: for a node that did not come up, and leaves nothing running. */
  async undo(): Promise<void> {
    await this.close()
    if (this.#started?.hasEnded() === false) await this.#started.stop()
  }

  /** A method: awaiting lets the answer change. */
  #isClosing(): boolean {
    return this.#closing.signal.aborted
  }

  async #watch(): Promise<void> {
    let pauseMs = RESTART_MS_MIN
    while (!this.#isClosing()) {
      const client = this.#client
      if (client !== undefined) {
        const since = performance.now()
        await client.closed
        this.#client = undefined
        this.#storeId = undefined
        this.emit('down')
        if (this.#isClosing()) return
        this.#log.warn('the engine has gone away')
        if (performance.now() - since > RESTART_MS_MAX) pauseMs = RESTART_MS_MIN
      }
      try {
        await delay(pauseMs, undefined, { signal: this.#closing.signal })
        await this.#bringUp()
      } catch (error) {
        if (this.#isClosing()) return
        this.#log.error({ err: error }, 'the engine does not start')
      }
      pauseMs = Math.min(2 * pauseMs, RESTART_MS_MAX)
    }
  }

  async #bringUp(): Promise<void> {
    const found = await this.#tryConnect()
    if (found !== undefined) {
      this.#log.info('found a running engine')
      await this.#adopt(found)
      return
    }
    this.#starts++
    const started = startEngine(this.#config)
    this.#started = started
    this.#log.info({ pid: started.pid }, 'started an engine')
    const client = await this.#waitFor(started)
    try {
      await this.#adopt(client)
    } catch (cause) {
      if (!(cause instanceof EngineGoneError)) throw cause
      throw new EngineStartError(`the engine did not start: it ended: ${lastWords(this.#config)}`, { cause })
    }
  }

  async #waitFor(started: StartedEngine): Promise<EngineClient> {
    const giveUpMs = performance.now() + START_TIMEOUT_MS
    while (performance.now() < giveUpMs) {
      const client = await this.#tryConnect()
      if (client !== undefined) return client
      if (started.hasEnded()) break
      await delay(POLL_MS, undefined, { signal: this.#closing.signal })
    }
    const why = started.hasEnded() ? 'it ended at once' : `no socket after ${START_TIMEOUT_MS / 1000} s`
    throw new EngineStartError(`the engine did not start: ${why}: ${lastWords(this.#config)}`)
  }

  async #tryConnect(): Promise<EngineClient | undefined> {
    try {
      return await EngineClient.connect({
        socketPath: controlSocketOf(this.#config),
        onEvent: (event) => this.emit('event', event),
      })
    } catch {
      return undefined
    }
  }

  async #adopt(client: EngineClient): Promise<void> {
    await client.call('subscribe', {})
    this.#client = client
    this.emit('up')
  }
}
