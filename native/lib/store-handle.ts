/**
 * One store in production: a native thread that drives the core with a real device, clock and sockets. No JavaScript
 * runs per I/O; what comes through here is commands and events.
 */
import {
  CloudfsError,
  type CoreCommands,
  type CoreEvent,
  type CoreParams,
  type CoreVerb,
  type EndpointStatus,
  type Epoch,
  type ShellStatus,
  type StoreIdentity,
  VersionId,
} from '@cloudfs/interface'
import { addon, type RawStoreHandle } from './addon.js'

export interface OpenOptions {
  /** A store's directory, block device or big file. */
  readonly path: string
  readonly params?: CoreParams
  /** Told of each event, in order, from when the store is opened; must not throw. */
  readonly onEvent?: (event: CoreEvent) => void
}

export interface CreateOptions extends OpenOptions {
  /** Gives up a store, or whatever else a device holds. */
  readonly overwrite?: boolean
  /** Makes one big file of this size; left out: a directory, or the device that is at `path`. */
  readonly fileBytes?: number
}

/** A unix socket. */
export interface UnixAddress {
  readonly path: string
  /** Permissions of the socket; 0o660 if left out. */
  readonly mode?: number
}

/** A TCP port at a numeric address. */
export interface TcpAddress {
  readonly host: string
  /** 0 = any that is free. */
  readonly port: number
}

/** The answer to a command. */
export interface CommandAnswer<V extends CoreVerb> {
  readonly result: CoreCommands[V]['result']
  /** Bytes that belong to the answer (`records`); else empty. */
  readonly payload: Buffer
}

/** A connected socket that becomes the connection of an attachment's session. */
export interface AdoptedSession {
  readonly fd: number
  readonly volume: string
  /** 16 bytes in hex. */
  readonly session: string
  readonly preface?: Uint8Array
  /** It is taken once this store leads in that epoch, which it does within 5 s; the preface goes out at once. */
  readonly expected?: Epoch
}

/** A connected socket over which an endpoint asks the primary. */
export interface AdoptedRoute {
  readonly fd: number
  readonly volume: string
  readonly session: string
  readonly early?: Uint8Array
  /** The other end is about to be the primary: it greets when it is. */
  readonly isNext?: boolean
}

/** A connected socket that becomes a stream to another engine. */
export type AdoptedStream = StreamSocket & (LeaderEnd | FollowerEnd)

interface StreamSocket {
  /** Its descriptor. */
  readonly fd: number
  /** Volume id in hex. */
  readonly volume: string
  /** Sent ahead of what the store says, and only if it takes the stream: the answer to an HTTP upgrade. */
  readonly preface?: Uint8Array
  /** Bytes of the stream that were received already. */
  readonly early?: Uint8Array
}

/** This side is the volume's primary. */
interface LeaderEnd {
  readonly role: 'leader'
  /** The host that was let in, in hex. A hello that names another is refused. */
  readonly host: string
  /** It is taken once this store is elected in that epoch, which it is within 5 s; the preface goes out at once. */
  readonly expected?: Epoch
}

/** This side is one of the volume's followers, or a store outside its view that is given a copy. */
interface FollowerEnd {
  readonly role: 'follower' | 'copy'
  /** The other side is about to lead: it is taken once that has spoken, which it does within 5 s. Of a follower. */
  readonly isNext?: boolean
}

/** What is read: `VOLUME`, `VOLUME@SNAPSHOT`, … as NBD's exports are named (docs/nbd.md). Offsets and lengths are any. */
export interface BlockRead {
  readonly name: string
  readonly offset: number
  readonly length: number
}

export interface BlockWrite {
  readonly name: string
  readonly offset: number
  /** The caller's own again once `write` has returned its promise. */
  readonly bytes: Uint8Array
  /** Answered when a majority has synced it, and all that was written before. */
  readonly fua?: boolean
  /** Written only if this is the volume's head, not even a write under way having come before. */
  readonly expected?: VersionId
}

/** Longest read or write. */
export const ACCESS_BYTES_MAX = 4 * 1024 * 1024

/** What stopped a store: `code` is the core's (docs/errors.md). */
export class StoreFailedError extends CloudfsError {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/**
 * Life: `open` or `create`, then `start` or `format`, then anything, then `stop` (a clean end) and `close`. After
 * `store-failed` only `close` is useful. Errors carry `code`, and `errno` and `syscall` where the system had a part.
 */
export class StoreHandle {
  readonly #raw: RawStoreHandle
  readonly #onEvent: ((event: CoreEvent) => void) | undefined
  /** Settled by the next 'ready', 'stopped' or 'store-failed'. */
  #transition: { resolve: () => void; reject: (error: Error) => void } | undefined

  private constructor(options: CreateOptions & { readonly create: boolean }) {
    this.#onEvent = options.onEvent
    this.#raw = new addon.StoreHandle(options, (name, detail) => {
      this.#handle({ name, detail: JSON.parse(detail === '' ? '{}' : detail) as object } as CoreEvent)
    })
  }

  /**
   * Opens and locks a store; `start` comes next.
   *
   * @throws ERR_STORE_NOT_FOUND, ERR_STORE_LOCKED, ERR_STORE_IO
   */
  static open(options: OpenOptions): StoreHandle {
    return new StoreHandle({ ...options, create: false })
  }

  /**
   * Makes an empty place for a store and locks it; `format` comes next. The size of a store in a directory is
   * `params.segmentLimit` segments; a device's or file's own size limits that further.
   *
   * @throws ERR_STORE_EXISTS, ERR_STORE_LOCKED, ERR_STORE_NOT_FOUND, ERR_STORE_IO
   */
  static create(options: CreateOptions): StoreHandle {
    return new StoreHandle({ ...options, create: true })
  }

  /** Writes an empty store and starts it. */
  format(identity: StoreIdentity): Promise<void> {
    return this.#during(() => {
      this.#raw.format(identity)
    })
  }

  /** Recovers the store. @throws {StoreFailedError} ERR_STORE_CORRUPT, ERR_STORE_VERSION, ERR_STORE_IO, … */
  start(): Promise<void> {
    return this.#during(() => {
      this.#raw.start()
    })
  }

  /** Ends cleanly: answers clients' requests in flight, syncs, writes a checkpoint, marks the stop. */
  stop(): Promise<void> {
    return this.#during(() => {
      this.#raw.stop()
    })
  }

  /** Has the core carry out `verb` (docs/core.md, Commands). @throws an error with the core's code */
  async command<V extends CoreVerb>(
    verb: V,
    args: CoreCommands[V]['args'],
    payload?: Uint8Array,
  ): Promise<CommandAnswer<V>> {
    const answer = await this.#raw.command(verb, JSON.stringify(args), payload)
    return {
      result: JSON.parse(answer.result === '' ? 'null' : answer.result) as CoreCommands[V]['result'],
      payload: answer.payload,
    }
  }

  /**
   * Serves NBD at a unix socket. With a `volume` (id in hex), clients see it and its snapshots alone.
   *
   * @throws ERR_ADDRESS_IN_USE, ERR_ADDRESS_INVALID, ERR_LISTEN
   */
  async listenUnix(address: UnixAddress, volume?: string): Promise<void> {
    await this.#raw.listen({ ...address, key: address.path, volume })
  }

  /** As `listenUnix`, at a TCP port. @returns the port */
  listenTcp(address: TcpAddress, volume?: string): Promise<number> {
    return this.#raw.listen({ ...address, key: tcpKey(address), volume })
  }

  /** Stops serving at a unix socket; its clients are let go once their requests in flight are answered. */
  unlistenUnix(path: string): Promise<boolean> {
    return this.#raw.unlisten(path)
  }

  /** As `unlistenUnix`; `address` as it was given to `listenTcp`. */
  unlistenTcp(address: TcpAddress): Promise<boolean> {
    return this.#raw.unlisten(tcpKey(address))
  }

  /**
   * Takes over a connected socket as a stream to another engine (docs/wire-protocol.md). The descriptor is duplicated:
   * the caller destroys its own once this resolves or rejects, and reads nothing from it after the call.
   *
   * @returns the stream's number, which the event `stream-ended` repeats once it is no more; that may come first
   * @throws ERR_UNKNOWN_VOLUME, ERR_NOT_PRIMARY, ERR_IS_PRIMARY, ERR_NOT_MEMBER, ERR_TOO_MANY_STREAMS, ERR_NOT_READY
   */
  adoptStream(stream: AdoptedStream): Promise<number> {
    return this.#raw.adoptStream(stream)
  }

  /**
   * Takes over a connected socket as that of an attachment's session (docs/nbd.md). For the descriptor and the preface the
   * rules of `adoptStream` hold. A connection that the session has already ends.
   *
   * @throws ERR_NOT_PRIMARY, ERR_SESSION_ENDED, ERR_UNKNOWN_VOLUME, ERR_NOT_READY, ERR_TOO_MANY_CLIENTS
   */
  adoptSession(session: AdoptedSession): Promise<void> {
    return this.#raw.adoptSession(session)
  }

  /**
   * Makes the endpoint of a volume that is attached here; it listens at its first route. One of another session of the volume
   * ends first; the same once more changes nothing.
   *
   * @throws ERR_TOO_MANY_ENDPOINTS
   */
  openEndpoint(address: UnixAddress, volume: string, session: string): Promise<void> {
    return this.#raw.openEndpoint({ ...address, volume, session })
  }

  /**
   * This store is the volume's primary: its endpoint asks here.
   *
   * @throws ERR_UNKNOWN_ENDPOINT, ERR_NOT_PRIMARY, ERR_SESSION_ENDED, ERR_UNKNOWN_VOLUME, ERR_NOT_READY; as `listenUnix` if it
   *   is the first
   */
  routeHere(volume: string, session: string): Promise<void> {
    return this.#raw.routeHere({ volume, session })
  }

  /**
   * The endpoint asks over a connected socket, which leads to another engine's `adoptSession`. Resolves once that has greeted;
   * until then any older route is in force. The caller destroys its own descriptor then.
   *
   * @throws ERR_UNKNOWN_ENDPOINT, ERR_STREAM_LOST, ERR_ROUTE_PROTOCOL, ERR_SESSION_ENDED the endpoint has ended; as `listenUnix`
   */
  routeThere(route: AdoptedRoute): Promise<void> {
    return this.#raw.routeThere(route)
  }

  /** Hangs up an endpoint's clients and removes its socket. @returns whether there was one */
  endEndpoint(volume: string): Promise<boolean> {
    return this.#raw.endEndpoint(volume)
  }

  async endpoints(): Promise<readonly EndpointStatus[]> {
    return (await this.#raw.endpoints()) as EndpointStatus[]
  }

  /**
   * The host that is about to lead a volume was elected: connections that `adoptStream` keeps until it speaks (`isNext`) are taken
   * now, for it may wait for this host's word.
   */
  followNow(volume: string): void {
    this.#raw.followNow(volume)
  }

  /** Ends a stream that `adoptStream` took over; `stream-ended` follows. Of one that has ended it does nothing. */
  closeStream(stream: number): void {
    this.#raw.closeStream(stream)
  }

  /**
   * Reads as an NBD client does: committed blocks, all of one version.
   *
   * @returns that version, and the bytes
   * @throws ERR_UNKNOWN_VOLUME, ERR_NOT_PRIMARY, ERR_AMBIGUOUS_NAME, ERR_RANGE_UNSATISFIABLE, ERR_STORE_IO, ERR_NOT_READY,
   *   ERR_TOO_MANY_REQUESTS, ERR_STORE_CLOSED
   */
  async read(read: BlockRead): Promise<{ readonly version: VersionId; readonly bytes: Buffer }> {
    const { version, bytes } = await this.#raw.read(read)
    return { version: VersionId.parse(version), bytes }
  }

  /**
   * Writes as an NBD client does; done when it is committed. After an error the blocks hold their old bytes or the new
   * ones, but for ERR_VERSION_DIFFERS and the errors of `read`, after which nothing was written.
   *
   * @returns the version that the write made
   * @throws ERR_VERSION_DIFFERS the head is not the one expected; ERR_UPDATE_TOO_LONG a write with `expected` touches
   *   more blocks than one update holds; ERR_READ_ONLY, ERR_STORE_FULL; as `read`
   */
  async write(write: BlockWrite): Promise<{ readonly version: VersionId }> {
    return { version: VersionId.parse((await this.#raw.write(write)).version) }
  }

  async stats(): Promise<ShellStatus> {
    return (await this.#raw.stats()) as unknown as ShellStatus
  }

  /** Ends the thread and unlocks the store. Without `stop` before it, as a crash would. May be called twice. */
  async close(): Promise<void> {
    await this.#raw.close()
    this.#transition?.reject(new StoreFailedError('ERR_STORE_CLOSED', 'the store was closed'))
    this.#transition = undefined
  }

  #during(begin: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      begin()
      this.#transition = { resolve, reject }
    })
  }

  #handle(event: CoreEvent): void {
    if (event.name === 'ready' || event.name === 'stopped') {
      this.#transition?.resolve()
      this.#transition = undefined
    } else if (event.name === 'store-failed') {
      this.#transition?.reject(new StoreFailedError(event.detail.code, event.detail.message))
      this.#transition = undefined
    }
    this.#onEvent?.(event)
  }
}

function tcpKey(address: TcpAddress): string {
  return `${address.host} ${String(address.port)}`
}
