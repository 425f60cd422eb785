/** One volume that is followed: keeps a stream to its primary, for ever. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type FollowArguments, type FollowStatus, StreamLostError, type VolumeId } from '@cloudfs/interface'
import type { Logger } from 'pino'
import { parseAddress } from '../address.js'
import type { RunningStream } from '../adopted-streams.js'
import { errorMessage } from '../control-server.js'
import { UPGRADE_RECORDS } from '../http-protocols.js'
import type { StoreService } from '../store-service.js'
import type { LostHosts } from './lost-hosts.js'
import { type OpenedStream, openStream, StreamRefusedError } from './open-stream.js'
import { descriptorOf } from './surrender-socket.js'

/** After an attempt that failed the next one waits this long, then twice as long, … */
const RETRY_MS_MIN = 50
/** … but no longer. */
const RETRY_MS_MAX = 1_000
/** A stream that lived this long was a good one: the next attempt comes soon. */
const GOOD_STREAM_MS = 1_000

/** A stream on its way, perhaps to whom does not lead yet. */
export interface Opening {
  readonly running: Promise<RunningStream>
  readonly abort: AbortController
}

export interface FollowOptions {
  readonly arguments: FollowArguments
  readonly store: StoreService
  /** The first one. */
  readonly opening?: Opening | undefined
  /** Of all that are followed. */
  readonly lost: LostHosts
  readonly log: Logger
}

type State = Pick<FollowStatus, 'state' | 'since' | 'error'>

export class Follow {
  readonly arguments: FollowArguments
  readonly store: StoreService
  readonly #log: Logger
  readonly #lost: LostHosts
  #nonce: string | undefined
  #opening: Opening | undefined
  readonly #abort = new AbortController()
  readonly #ended: Promise<void>
  #state: State = { state: 'connecting', since: new Date().toISOString() }

  /** Begins at once. */
  constructor(options: FollowOptions) {
    this.arguments = options.arguments
    this.store = options.store
    this.#nonce = options.arguments.nonce
    this.#opening = options.opening
    this.#lost = options.lost
    this.#log = options.log.child({ volume: options.arguments.volume })
    this.#ended = this.#run(this.#abort.signal)
  }

  get status(): FollowStatus {
    const { volume, leader, address } = this.arguments
    return { volume, leader, address, ...this.#state }
  }

  /** Ends the stream and makes no more. */
  async close(): Promise<void> {
    this.#abort.abort()
    this.#opening?.abort.abort()
    await this.#ended
  }

  async #run(signal: AbortSignal): Promise<void> {
    let delayMs = RETRY_MS_MIN
    const isClosed = (): boolean => signal.aborted
    while (!isClosed()) {
      const startedMs = performance.now()
      let isReached = false
      try {
        await this.#stream(signal)
      } catch (error) {
        isReached = error instanceof StreamRefusedError
        if (!isClosed()) this.#note(error)
      }
      if (performance.now() - startedMs > GOOD_STREAM_MS) delayMs = RETRY_MS_MIN
      // Whoever answers, and gives no stream of this volume, may give one of others.
      if (isReached) await sleep(delayMs, undefined, { signal }).catch(() => undefined)
      else await this.#lost.pause(this.arguments.address, delayMs, signal)
      delayMs = Math.min(2 * delayMs, RETRY_MS_MAX)
    }
  }

  /** Opens a stream and lives as long as that. */
  async #stream(signal: AbortSignal): Promise<void> {
    const follow = { ...this.arguments, nonce: this.#nonce }
    this.#nonce = undefined
    const opening = this.#opening?.running ?? openFollow(this.store, follow, signal)
    this.#opening = undefined
    const stream = await orGivenUp(opening, signal)
    this.#lost.found(this.arguments.address)
    signal.addEventListener('abort', stream.close, { once: true })
    if (signal.aborted) stream.close()
    // One that was refused is so until it goes on for a while: that it connects says little.
    const entered = setTimeout(
      () => {
        this.#enter({ state: 'connected' })
      },
      this.#state.state === 'refused' ? GOOD_STREAM_MS : 0,
    )
    const refusal = await stream.ended
    clearTimeout(entered)
    signal.removeEventListener('abort', stream.close)
    if (refusal === undefined) this.#enter({ state: 'connecting' })
    else this.#enter({ state: 'refused', error: refusal })
  }

  #note(error: unknown): void {
    const { code, message } = errorMessage(error)
    this.#enter({
      state: error instanceof StreamRefusedError ? 'refused' : 'connecting',
      error: { code, message },
    })
  }

  #enter({ state, error }: Omit<State, 'since'>): void {
    const isSame = state === this.#state.state
    if (!isSame || error?.code !== this.#state.error?.code) {
      const { leader, address } = this.arguments
      this.#log.info({ leader, address, state, ...(error && { error }) }, 'following')
    }
    const since = isSame ? this.#state.since : new Date().toISOString()
    this.#state = { state, since, ...(error === undefined ? {} : { error }) }
  }
}

/** What comes after it was given up is ended. */
async function orGivenUp(opening: Promise<RunningStream>, signal: AbortSignal): Promise<RunningStream> {
  const done = new AbortController()
  const given = new Promise<never>((_, reject) => {
    const giveUp = (): void => {
      reject(new StreamLostError('it is not followed any more'))
    }
    signal.addEventListener('abort', giveUp, { once: true, signal: done.signal })
    if (signal.aborted) giveUp()
  })
  try {
    return await Promise.race([opening, given])
  } finally {
    done.abort()
    if (signal.aborted) endLater(opening)
  }
}

/** A stream that nobody wants any more, and that may not be there yet. */
export function endLater(opening: Promise<RunningStream>): void {
  opening.then(
    (stream) => {
      stream.close()
    },
    () => undefined,
  )
}

/**
 * @param isNext - once there is a connection: that host is about to lead, and speaks when it does
 * @throws what `openStream` throws, and `StoreHandle.adoptStream`
 */
export async function openFollow(
  store: StoreService,
  follow: FollowArguments,
  signal: AbortSignal,
  isNext = (): boolean => false,
): Promise<RunningStream> {
  const { socket, early } = await connectTo(store, follow, signal)
  socket.on('error', () => undefined)
  try {
    const { volume } = follow
    return await store.adopt({ fd: descriptorOf(socket), role: 'follower', volume, early, isNext: isNext() })
  } finally {
    socket.destroy()
  }
}

async function connectTo(
  store: StoreService,
  { volume, key, address, nonce }: FollowArguments,
  signal: AbortSignal,
): Promise<OpenedStream> {
  const host = store.status.host
  const target = parseAddress(address)
  if (host === undefined || target === undefined) throw new Error('a follow has a host and an address')
  return openStream({
    address: target,
    path: `/stream?${volume}&${await lsnOf(store, volume)}`,
    protocol: UPGRADE_RECORDS,
    volume,
    host,
    key: Buffer.from(key, 'hex'),
    nonce,
    signal,
  })
}

/** Of the last record held here; -1: none. */
async function lsnOf(store: StoreService, volume: VolumeId): Promise<number> {
  const { result } = await store.command('volumes', { all: true, volume })
  return result[0]?.lsn ?? -1
}
