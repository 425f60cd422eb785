/** One store of the engine: its native handle, its state, and the cleaner that keeps it from filling. */
import {
  type CoreCommands,
  type CoreEvent,
  type CoreParams,
  type CoreVerb,
  type EngineEvent,
  type HostId,
  type ScrubStatus,
  StoreNotReadyError,
  type StoreId,
  type StoreState,
  type StoreStatus,
  type VolumeId,
} from '@cloudfs/interface'
import type { Superblock } from '@cloudfs/format'
import { type AdoptedSession, type AdoptedStream, type CommandAnswer, StoreHandle } from '@cloudfs/native'
import type { Logger } from 'pino'
import { AdoptedStreams, type RunningStream } from './adopted-streams.js'
import { Holders } from './blocks/holders.js'
import { Cleaner } from './cleaner.js'
import { errorMessage } from './control-server.js'
import { HeadWatch } from './head-watch.js'
import { Scrubber } from './scrubber.js'
import { readSuperblock } from './superblock-file.js'

export interface StoreServiceOptions {
  readonly path: string
  readonly params: CoreParams
  readonly scrubBytesPerSecond?: number
  readonly log: Logger
  readonly publish: (event: EngineEvent) => void
}

export class StoreService {
  readonly path: string
  readonly #options: StoreServiceOptions
  readonly #handle: StoreHandle
  readonly #cleaner: Cleaner
  readonly #scrubber: Scrubber
  readonly #identity: { readonly store: StoreId; readonly host: HostId }
  readonly heads = new HeadWatch()
  /** Who has the volumes attached of which this store is the primary. */
  readonly holders = new Holders(async (volume) => {
    const { result } = await this.command('volumes', { volume })
    return result[0]?.attach.holders ?? []
  })
  readonly #streams = new AdoptedStreams()
  #state: StoreState = 'starting'
  #error: { code: string; message: string } | undefined

  private constructor(options: StoreServiceOptions, handle: StoreHandle, superblock: Superblock) {
    this.path = options.path
    this.#options = options
    this.#handle = handle
    this.#identity = { store: superblock.store, host: superblock.host }
    this.#cleaner = new Cleaner({
      segmentBytes: 2 ** superblock.segmentLog2,
      log: options.log,
      command: async (verb, args) => (await this.#handle.command(verb, args)).result,
    })
    this.#scrubber = new Scrubber({
      log: options.log,
      ...(options.scrubBytesPerSecond === undefined ? {} : { bytesPerSecond: options.scrubBytesPerSecond }),
      command: async (verb, args) => (await this.#handle.command(verb, args)).result,
    })
  }

  /**
   * Opens and locks the store; `start` comes next.
   *
   * @throws ERR_STORE_NOT_FOUND, ERR_STORE_LOCKED, ERR_STORE_CORRUPT, ERR_STORE_VERSION, ERR_STORE_IO
   */
  static async open(options: StoreServiceOptions): Promise<StoreService> {
    let service: StoreService | undefined
    const { path, params } = options
    // There are no events before the start, and no start before there is a service.
    const onEvent = (event: CoreEvent): void => {
      if (service !== undefined) service.#onEvent(event)
    }
    const handle = StoreHandle.open({ path, params, onEvent })
    try {
      service = new StoreService(options, handle, readSuperblock(path))
      return service
    } catch (error) {
      // Its threads would keep the process, and the lock.
      await handle.close()
      throw error
    }
  }

  get status(): StoreStatus {
    return {
      path: this.path,
      ...this.#identity,
      state: this.#state,
      ...(this.#error === undefined ? {} : { error: this.#error }),
    }
  }

  /** The native half, for serving. @throws {StoreNotReadyError} */
  get handle(): StoreHandle {
    if (this.#state !== 'ready') {
      throw new StoreNotReadyError(`the store at ${this.path} is ${this.#state}`, { state: this.#state })
    }
    return this.#handle
  }

  /** Whether `name`, from a request, means this store. */
  isNamed(name: string): boolean {
    return name === this.path || name === this.#identity.store
  }

  /** Recovers the store. It does not throw: a store that fails is one of several, and its status says so. */
  async start(): Promise<void> {
    try {
      await this.#handle.start()
      this.#enter('ready')
      this.#scrubber.start()
    } catch (error) {
      this.#fail(errorMessage(error))
    }
  }

  command<V extends CoreVerb>(
    verb: V,
    args: CoreCommands[V]['args'],
    payload?: Buffer,
  ): Promise<CommandAnswer<V>> {
    return this.handle.command(verb, args, payload)
  }

  /** Reads the whole store, at once. @throws {StoreNotReadyError} */
  scrubNow(): ScrubStatus {
    if (this.#state !== 'ready') {
      throw new StoreNotReadyError(`the store at ${this.path} is ${this.#state}`, { state: this.#state })
    }
    this.#scrubber.scrubNow()
    return this.#scrubber.status
  }

  get scrubStatus(): ScrubStatus {
    return this.#scrubber.status
  }

  /** What waits for the word of whom is about to lead a volume waits no longer (`StoreHandle.followNow`). */
  followNow(volume: VolumeId): void {
    if (this.#state === 'ready') this.#handle.followNow(volume)
  }

  /** Takes a connected socket over as a stream to another engine (`StoreHandle.adoptStream`). */
  adopt(stream: AdoptedStream): Promise<RunningStream> {
    return this.#streams.adopt(this.handle, stream)
  }

  /**
   * Keeps a socket until the store leads. The answer to its other end goes out at once: what becomes of it later is told to the
   * log alone.
   */
  async park(stream: AdoptedStream): Promise<void> {
    await this.#parked(this.#streams.adopt(this.handle, stream))
  }

  /** The same for a session. */
  async parkSession(session: AdoptedSession): Promise<void> {
    await this.#parked(this.handle.adoptSession(session))
  }

  async #parked(taken: Promise<unknown>): Promise<void> {
    try {
      await taken
    } catch (error) {
      this.#options.log.info({ err: error }, 'a connection that came before this host leads is let go')
    }
  }

  /** Ends cleanly if it can, and unlocks the store. */
  async stop(): Promise<void> {
    await Promise.all([this.#cleaner.close(), this.#scrubber.close()])
    if (this.#state === 'ready') {
      try {
        await this.#handle.stop()
        this.#enter('stopped')
      } catch (error) {
        this.#fail(errorMessage(error))
      }
    }
    await this.#handle.close()
  }

  #onEvent(event: CoreEvent): void {
    const { log, publish } = this.#options
    if (event.name === 'store-failed') this.#fail(event.detail)
    else if (event.name === 'block-corrupt') log.error(event.detail, 'a block fails its checksum')
    else if (event.name === 'block-repaired')
      log.warn(event.detail, 'a bad block was had from another replica')
    else if (event.name === 'space-low') log.warn(event.detail, 'space is low')
    else if (event.name === 'hand-refused')
      log.info(event.detail, 'the two cores do not hand the volume over by themselves')
    else log.debug(event.detail, event.name)
    if (event.name === 'attached') this.holders.changed(event.detail.volume)
    if (event.name === 'head-moved') this.heads.onMoved(event.detail.volume)
    if (event.name === 'stream-ended') {
      const { stream, code, message = '' } = event.detail
      this.#streams.onEnded(stream, code === undefined ? undefined : { code, message })
    }
    this.#cleaner.onEvent(event)
    publish({ event: event.name, store: this.path, detail: event.detail })
  }

  #fail(error: { code: string; message: string }): void {
    if (this.#state === 'failed') return
    this.#error = { code: error.code, message: error.message }
    this.#options.log.fatal(this.#error, 'the store has stopped')
    this.#enter('failed')
  }

  #enter(state: StoreState): void {
    this.#state = state
    this.#options.log.info(`the store is ${state}`)
    this.#options.publish({ event: 'store-state', store: this.path, detail: this.status })
  }
}
