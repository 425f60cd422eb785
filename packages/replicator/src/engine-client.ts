/** One connection to an engine process's control socket (`@cloudfs/interface`, engine-messages). */
import { connect, type Socket } from 'node:net'
import {
  CloudfsError,
  ENGINE_MESSAGE_BYTES_MAX,
  type EngineCommands,
  EngineGoneError,
  type EngineErrorMessage,
  type EngineEvent,
  type EngineResponse,
  type EngineVerb,
  LineReader,
  writeTogether,
} from '@cloudfs/interface'

/** What the engine refused or failed at; `code` is its own (docs/errors.md). */
export class EngineError extends CloudfsError {
  readonly code: string

  constructor({ code, message, ...details }: EngineErrorMessage) {
    super(message, details)
    this.code = code
  }
}

export interface EngineClientOptions {
  readonly socketPath: string
  /** Told of each event once `subscribe` was called; must not throw. */
  readonly onEvent?: (event: EngineEvent) => void
}

export interface CallOptions {
  /** Path or id of the store that is meant, where the engine has several. */
  readonly store?: string
  readonly payload?: Uint8Array
}

export interface EngineAnswer<V extends EngineVerb> {
  readonly result: EngineCommands[V]['result']
  readonly payload: Buffer
}

interface Waiting {
  readonly resolve: (answer: EngineAnswer<EngineVerb>) => void
  readonly reject: (error: Error) => void
}

export class EngineClient {
  /** Resolves when the connection has ended, by whoever's doing. */
  readonly closed: Promise<void>
  readonly #socket: Socket
  readonly #onEvent: ((event: EngineEvent) => void) | undefined
  readonly #lines = new LineReader(ENGINE_MESSAGE_BYTES_MAX)
  readonly #waiting = new Map<number, Waiting>()
  #ids = 0
  #gone = false

  private constructor(socket: Socket, { onEvent }: EngineClientOptions) {
    this.#socket = socket
    this.#onEvent = onEvent
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#end()
        resolve()
      })
    })
    // 'close' follows, and tells everyone who waits.
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => {
      this.#receive(chunk)
    })
  }

  /** @throws ENOENT, ECONNREFUSED no engine listens there */
  static async connect(options: EngineClientOptions): Promise<EngineClient> {
    const socket = connect(options.socketPath)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve).once('error', reject)
    })
    return new EngineClient(socket, options)
  }

  /**
   * Has the engine carry out `verb`.
   *
   * @throws {EngineError} it refused or failed
   * @throws {EngineGoneError} the connection ended before it answered
   */
  call<V extends EngineVerb>(
    verb: V,
    args: EngineCommands[V]['args'],
    { store, payload }: CallOptions = {},
  ): Promise<EngineAnswer<V>> {
    const id = ++this.#ids
    const message = {
      id,
      verb,
      args,
      ...(store === undefined ? {} : { store }),
      ...(payload === undefined ? {} : { payload: Buffer.from(payload).toString('base64') }),
    }
    return new Promise((resolve, reject) => {
      if (this.#gone) {
        reject(new EngineGoneError('the connection to the engine has ended'))
        return
      }
      // The engine answers a verb with that verb's result.
      this.#waiting.set(id, { resolve: resolve as Waiting['resolve'], reject })
      writeTogether(this.#socket, `${JSON.stringify(message)}\n`, setImmediate)
    })
  }

  /** Ends the connection; calls not answered yet are rejected. May be called twice. */
  async close(): Promise<void> {
    this.#socket.destroy()
    await this.closed
  }

  #receive(chunk: Buffer): void {
    try {
      for (const line of this.#lines.push(chunk)) {
        const message = JSON.parse(line) as EngineResponse | EngineEvent
        if ('event' in message) this.#onEvent?.(message)
        else this.#settle(message)
      }
    } catch {
      // Whoever speaks there is no engine.
      this.#socket.destroy()
    }
  }

  #settle(response: EngineResponse): void {
    const waiting = response.id === null ? undefined : this.#waiting.get(response.id)
    if (response.id === null || waiting === undefined) return
    this.#waiting.delete(response.id)
    if ('error' in response) waiting.reject(new EngineError(response.error))
    else waiting.resolve({ result: response.result, payload: Buffer.from(response.payload ?? '', 'base64') })
  }

  #end(): void {
    this.#gone = true
    for (const { reject } of this.#waiting.values()) {
      reject(new EngineGoneError('the connection to the engine ended before it answered'))
    }
    this.#waiting.clear()
  }
}
