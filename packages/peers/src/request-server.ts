/** Answers the requests of other hosts: frames in, checked, handled, frames out; bounded in number, size and time. */
import './promise-with-resolvers.js'
import assert from 'node:assert'
import { type CloudfsError, type HostId, isCloudfsError } from '@cloudfs/interface'
import type { Connection, Stream } from '@libp2p/interface'
import { z } from 'zod'
import { Deadline, orAborted, sharedAbortController } from './deadline.js'
import {
  MessageTooLongError,
  PeerBusyError,
  PeerInternalError,
  PeerProtocolError,
  PeerTimeoutError,
  UnknownRequestError,
} from './errors.js'
import { encodeFrame, type Frame, type FrameBody, FrameStream, type Message } from './frame.js'
import { Gate } from './gate.js'
import type { PeerLimits } from './limits.js'
import type { RequestKind } from './request.js'

/** @param signal - aborted when the caller is gone, time is up or the node closes */
export type Handler<Caller, Request, Answer> = (
  request: Request,
  caller: Caller,
  signal: AbortSignal,
) => Answer | Promise<Answer>

type Limits = Pick<
  PeerLimits,
  'frameBytesMax' | 'handlerTimeoutMs' | 'requestTimeoutMs' | 'handlersMax' | 'requestsFromHostMax'
>

export interface RequestServerOptions {
  readonly limits: Limits
  /** The host at the other end of a connection, if it has said hello. */
  readonly whoIs: (connection: Connection) => Promise<HostId | undefined>
  /** A host was heard from. */
  readonly onHeard: (host: HostId) => void
  /** A handler failed without a code: a bug, for the log. The caller learns no more than that. */
  readonly onBug: (name: string, error: unknown) => void
}

/** One stream of requests, of one connection. */
interface Line {
  readonly connection: Connection
  readonly frames: FrameStream
  /** What is under way on it, by the asking side's number. */
  readonly underWay: Map<number, Deadline>
}

export class RequestServer {
  readonly #options: RequestServerOptions
  readonly #handlers = new Map<
    string,
    (message: Message, connection: Connection, signal: AbortSignal) => Promise<Message>
  >()
  readonly #gate: Gate
  readonly #answering = new Set<Promise<void>>()
  readonly #closed = sharedAbortController()

  constructor(options: RequestServerOptions) {
    this.#options = options
    this.#gate = new Gate(options.limits.handlersMax, 0)
  }

  /** Answers requests of one kind, of hosts that have said hello. A kind has one handler. */
  handle<Request extends Message, Answer extends Message>(
    kind: RequestKind<Request, Answer>,
    handler: Handler<HostId, Request, Answer>,
  ): void {
    this.handleRaw(kind, async (request, connection, signal) => {
      const host = await this.#options.whoIs(connection)
      if (host === undefined) throw new PeerProtocolError(`${kind.name} before hello`)
      this.#options.onHeard(host)
      return handler(request, host, signal)
    })
  }

  /** The same for whoever is connected: of hello alone. */
  handleRaw<Request extends Message, Answer extends Message>(
    kind: RequestKind<Request, Answer>,
    handler: Handler<Connection, Request, Answer>,
  ): void {
    assert(!this.#handlers.has(kind.name), `${kind.name} has one handler`)
    this.#handlers.set(kind.name, async (message, connection, signal) => {
      const request = kind.request.safeParse(message)
      if (!request.success) {
        throw new PeerProtocolError(`${kind.name}: malformed request: ${z.prettifyError(request.error)}`)
      }
      return handler(request.data, connection, signal)
    })
  }

  /** Answers the requests on a stream that another host opened, until it ends. Garbage on it ends it. */
  serve(stream: Stream, connection: Connection): void {
    const frames = new FrameStream(stream, this.#options.limits.frameBytesMax)
    const line: Line = { connection, frames, underWay: new Map() }
    this.#readAll(line).catch((error: unknown) => {
      const reason = error instanceof Error ? error : new Error('the stream failed', { cause: error })
      stream.abort(reason)
      for (const deadline of line.underWay.values()) deadline.abort(reason)
    })
  }

  /** Tells handlers to stop, and waits for them. */
  async close(): Promise<void> {
    this.#closed.abort(new Error('the node closes'))
    await Promise.all(this.#answering)
  }

  async #readAll(line: Line): Promise<never> {
    while (true) {
      const frame = await line.frames.read()
      if ('cancelled' in frame.body) {
        line.underWay.get(frame.id)?.abort(new Error('the caller gave up'))
        continue
      }
      if (line.underWay.has(frame.id)) throw new PeerProtocolError('two requests under one number')
      if (line.underWay.size >= this.#options.limits.requestsFromHostMax) {
        throw new PeerProtocolError('more requests at once than a host may have under way')
      }
      const answering = this.#answer(line, frame).finally(() => this.#answering.delete(answering))
      this.#answering.add(answering)
    }
  }

  async #answer(line: Line, frame: Frame): Promise<void> {
    const { frameBytesMax, handlerTimeoutMs, requestTimeoutMs } = this.#options.limits
    const late = () => new PeerTimeoutError(`${frame.name} took longer than ${String(handlerTimeoutMs)} ms`)
    using handling = new Deadline(handlerTimeoutMs, late, this.#closed.signal)
    line.underWay.set(frame.id, handling)
    const mayRun = this.#gate.tryEnter()
    try {
      const body = mayRun ? await this.#run(frame, line.connection, handling.signal) : asBody(busy())
      // A caller that does not read its answers loses the stream.
      using writing = new Deadline(
        requestTimeoutMs,
        () => new Error('answers are not read'),
        this.#closed.signal,
      )
      await line.frames.write(encodeAnswer(frame.id, body, frameBytesMax), writing.signal)
    } catch {
      // The caller gave up, is gone, or does not read: nobody is left to tell.
    } finally {
      if (mayRun) this.#gate.leave()
      line.underWay.delete(frame.id)
    }
  }

  async #run(frame: Frame, connection: Connection, signal: AbortSignal): Promise<FrameBody> {
    try {
      if (!('message' in frame.body)) throw new PeerProtocolError('a request that is an answer')
      const handler = this.#handlers.get(frame.name)
      if (handler === undefined) throw new UnknownRequestError(`no such request here: ${frame.name}`)
      return { message: await orAborted(handler(frame.body.message, connection, signal), signal) }
    } catch (error) {
      if (isCloudfsError(error)) return asBody(error)
      if (signal.aborted) throw error
      this.#options.onBug(frame.name, error)
      return asBody(new PeerInternalError(`${frame.name} failed; the log of the host asked says why`))
    }
  }
}

function busy(): PeerBusyError {
  return new PeerBusyError('as many requests as this host takes are under way')
}

function asBody({ code, message }: CloudfsError): FrameBody {
  return { error: { code, message } }
}

function encodeAnswer(id: number, body: FrameBody, frameBytesMax: number): Uint8Array {
  try {
    return encodeFrame({ id, name: '', body }, frameBytesMax)
  } catch (error) {
    if (!(error instanceof MessageTooLongError)) throw error
    return encodeFrame({ id, name: '', body: asBody(error) }, frameBytesMax)
  }
}
