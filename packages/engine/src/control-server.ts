/**
 * The control socket: lines of JSON with request ids, several clients at once (`@cloudfs/interface`, engine-messages).
 * Clients are not trusted to be well: lines, requests in flight and unread answers are bounded, and a client that
 * vanishes takes nothing with it.
 */
import { lstatSync, unlinkSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import {
  ENGINE_BACKLOG_BYTES_MAX,
  ENGINE_MESSAGE_BYTES_MAX,
  ENGINE_REQUESTS_IN_FLIGHT_MAX,
  type EngineErrorMessage,
  type EngineEvent,
  type EngineResponse,
  LineReader,
  MessageTooLongError,
  writeTogether,
} from '@cloudfs/interface'
import type { Logger } from 'pino'
import { parseRequest, type Request } from './requests.js'

export interface Answer {
  readonly result: unknown
  readonly payload?: Buffer
}

/** Carries out a request; what it throws becomes the response's error. */
export type Handler = (request: Request) => Promise<Answer>

export interface ControlServerOptions {
  readonly socketPath: string
  readonly handler: Handler
  readonly log: Logger
}

export class ControlServer {
  readonly #options: ControlServerOptions
  readonly #server: Server
  readonly #clients = new Set<Client>()

  private constructor(options: ControlServerOptions) {
    this.#options = options
    this.#server = createServer((socket) => {
      this.#accept(socket)
    })
  }

  /**
   * Listens. A socket file that a killed engine left is taken over.
   *
   * @throws EADDRINUSE where somebody listens already
   */
  static async listen(options: ControlServerOptions): Promise<ControlServer> {
    const server = new ControlServer(options)
    await removeStale(options.socketPath)
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', reject)
      // Bound before listen() returns: the file is never anybody else's.
      const before = process.umask(0o177)
      server.#server.listen(options.socketPath, () => {
        server.#server.off('error', reject)
        resolve()
      })
      process.umask(before)
    })
    return server
  }

  /** Sends an event to each client that has subscribed. */
  publish(event: EngineEvent): void {
    const line = lineOf(event)
    for (const client of this.#clients) {
      if (client.subscribed) client.send(line)
    }
  }

  /** Lets all clients go. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve()
      })
    })
    for (const client of this.#clients) client.hangUp()
    await closed
  }

  #accept(socket: Socket): void {
    const client = new Client(socket, this.#options)
    this.#clients.add(client)
    socket.on('close', () => this.#clients.delete(client))
  }
}

class Client {
  subscribed = false
  readonly #socket: Socket
  readonly #options: ControlServerOptions
  readonly #lines = new LineReader(ENGINE_MESSAGE_BYTES_MAX)
  #inFlight = 0

  constructor(socket: Socket, options: ControlServerOptions) {
    this.#socket = socket
    this.#options = options
    socket.on('data', (chunk) => {
      this.#receive(chunk)
    })
    // What is wrong with a client's socket ends that client: 'close' follows.
    socket.on('error', (error) => {
      options.log.debug({ err: error }, 'control client lost')
    })
  }

  send(line: string): void {
    if (this.#socket.destroyed) return
    if (this.#socket.writableLength + line.length > ENGINE_BACKLOG_BYTES_MAX) {
      this.#options.log.warn('control client does not read; hung up')
      this.#socket.destroy()
      return
    }
    writeTogether(this.#socket, line, setImmediate)
  }

  hangUp(): void {
    this.#socket.end()
    this.#socket.destroySoon()
  }

  #receive(chunk: Buffer): void {
    let lines: string[]
    try {
      lines = this.#lines.push(chunk)
    } catch {
      const error = new MessageTooLongError(`a message has at most ${ENGINE_MESSAGE_BYTES_MAX} bytes`)
      this.send(lineOf({ id: null, error: errorMessage(error) }))
      this.hangUp()
      return
    }
    for (const line of lines) {
      const request = parseRequest(line)
      if ('error' in request) this.send(lineOf({ id: request.id, error: errorMessage(request.error) }))
      else this.#carryOut(request)
    }
  }

  #carryOut(request: Request): void {
    this.#inFlight++
    // Lines received together are still taken: their number is bounded by the size of a read.
    if (this.#inFlight >= ENGINE_REQUESTS_IN_FLIGHT_MAX) this.#socket.pause()
    const { log, handler } = this.#options
    log.debug({ request: request.id, store: request.store }, `Processing ${request.verb} request`)
    if (request.verb === 'subscribe') this.subscribed = true
    handler(request)
      .then(
        ({ result, payload }): EngineResponse => ({
          id: request.id,
          result: result ?? {},
          ...(payload === undefined || payload.length === 0 ? {} : { payload: payload.toString('base64') }),
        }),
        (error: unknown): EngineResponse => {
          log.info({ request: request.id, err: error }, `${request.verb} failed`)
          return { id: request.id, error: errorMessage(error) }
        },
      )
      .then((response) => {
        this.send(lineOf(response))
      })
      .catch((error: unknown) => {
        log.error({ err: error, request: request.id }, 'a response could not be sent')
        this.#socket.destroy()
      })
      .finally(() => {
        this.#inFlight--
        if (this.#inFlight < ENGINE_REQUESTS_IN_FLIGHT_MAX) this.#socket.resume()
      })
  }
}

function lineOf(message: EngineResponse | EngineEvent): string {
  return `${JSON.stringify(message)}\n`
}

/** An error as it travels. One without a code is a bug of ours; it says no more than that it is. */
export function errorMessage(error: unknown): EngineErrorMessage {
  if (!(error instanceof Error)) return { code: 'ERR_INTERNAL', message: String(error) }
  const { code, errno, syscall } = error as NodeJS.ErrnoException
  return {
    code: typeof code === 'string' ? code : 'ERR_INTERNAL',
    message: error.message,
    ...(typeof errno === 'number' ? { errno } : {}),
    ...(typeof syscall === 'string' ? { syscall } : {}),
  }
}

/** The socket of an engine that was killed refuses connections; its file is in the way. */
async function removeStale(path: string): Promise<void> {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() !== true) return
  const refused = await new Promise<boolean>((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(false)
    })
    probe.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code === 'ECONNREFUSED')
    })
  })
  if (refused) unlinkSync(path)
}
