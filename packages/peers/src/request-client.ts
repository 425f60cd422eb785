/** Asks other hosts; bounded in number, size and time. */
import './promise-with-resolvers.js'
import { type HostId, isCloudfsError } from '@cloudfs/interface'
import type { Connection } from '@libp2p/interface'
import { z } from 'zod'
import { Deadline, orAborted, reasonOf, sharedAbortController } from './deadline.js'
import {
  PeerBusyError,
  PeerProtocolError,
  PeersClosedError,
  PeerTimeoutError,
  PeerUnreachableError,
  RemoteError,
} from './errors.js'
import type { FrameBody, Message } from './frame.js'
import { Gate } from './gate.js'
import type { PeerLimits } from './limits.js'
import { RequestChannel } from './request-channel.js'
import type { RequestKind } from './request.js'

export interface RequestOptions {
  /** `PEER_LIMITS.requestTimeoutMs`; covers waiting, dialling, sending and the answer. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

/** The libp2p protocol that all requests use; their names stand in the frames. */
export const REQUEST_PROTOCOL = '/cloudfs/request/1'

type Limits = Pick<
  PeerLimits,
  'frameBytesMax' | 'requestTimeoutMs' | 'requestsPerHostMax' | 'requestsQueuedPerHostMax'
>

export class RequestClient {
  readonly #limits: Limits
  /** By host; an entry goes when nothing is under way. */
  readonly #gates = new Map<HostId, Gate>()
  readonly #channels = new WeakMap<Connection, Promise<RequestChannel>>()
  readonly #closed = sharedAbortController()

  constructor(limits: Limits) {
    this.#limits = limits
  }

  /**
   * Asks `host` over a connection that `connect` finds or makes.
   *
   * @throws {PeerTimeoutError} no answer in time; what was asked may have been done all the same
   * @throws {PeerUnreachableError} the connection broke: likewise
   * @throws {PeerBusyError} too much waits for this host already; nothing was sent
   * @throws {MessageTooLongError} nothing was sent
   * @throws {PeerProtocolError} the answer is malformed
   * @throws {RemoteError} what the host answered instead, under its own code
   * @throws {PeersClosedError} this node is closing
   * @throws the signal's reason
   */
  async request<Request extends Message, Answer extends Message>(
    host: HostId,
    connect: (signal: AbortSignal) => Promise<Connection>,
    kind: RequestKind<Request, Answer>,
    message: Request,
    options: RequestOptions = {},
  ): Promise<Answer> {
    const timeoutMs = options.timeoutMs ?? this.#limits.requestTimeoutMs
    const late = () =>
      new PeerTimeoutError(`host ${host} did not answer ${kind.name} within ${String(timeoutMs)} ms`, {
        host,
      })
    using deadline = new Deadline(timeoutMs, late, options.signal, this.#closed.signal)
    const { signal } = deadline
    const full = () => new PeerBusyError(`too many requests wait for host ${host}`, { host })
    const gate = this.#gateOf(host)
    try {
      return await gate.run(
        async () => {
          const connection = await orAborted(connect(signal), signal)
          return this.#ask(host, connection, kind, message, signal)
        },
        full,
        signal,
      )
    } finally {
      if (gate.running === 0) this.#gates.delete(host)
    }
  }

  /** Asks whoever is at the other end of a connection, outside the queue: hello. */
  async requestOver<Request extends Message, Answer extends Message>(
    connection: Connection,
    kind: RequestKind<Request, Answer>,
    message: Request,
    timeoutMs: number,
  ): Promise<Answer> {
    const peer = connection.remoteAddr.toString()
    const late = () =>
      new PeerTimeoutError(`${peer} did not answer ${kind.name} within ${String(timeoutMs)} ms`)
    using deadline = new Deadline(timeoutMs, late, this.#closed.signal)
    return await this.#ask(peer, connection, kind, message, deadline.signal)
  }

  /** Fails what is under way and all that comes. */
  close(): void {
    this.#closed.abort(new PeersClosedError('the node is closed'))
  }

  async #ask<Request extends Message, Answer extends Message>(
    peer: string,
    connection: Connection,
    kind: RequestKind<Request, Answer>,
    message: Request,
    signal: AbortSignal,
  ): Promise<Answer> {
    try {
      signal.throwIfAborted()
      const channel = await orAborted(this.#channelOver(connection), signal)
      return checkAnswer(peer, kind, await channel.ask(kind.name, message, signal))
    } catch (error) {
      throw signal.aborted ? reasonOf(signal) : asPeerError(peer, kind.name, error)
    }
  }

  /** The stream that requests over this connection share: opened when first needed, and anew when it has failed. */
  async #channelOver(connection: Connection): Promise<RequestChannel> {
    const there = this.#channels.get(connection)
    if (there === undefined) {
      const opening = this.#open(connection)
      this.#channels.set(connection, opening)
      return opening
    }
    const channel = await there.catch(() => undefined)
    if (channel?.isOpen === true) return channel
    if (this.#channels.get(connection) === there) this.#channels.delete(connection)
    return this.#channelOver(connection)
  }

  async #open(connection: Connection): Promise<RequestChannel> {
    const { frameBytesMax, requestTimeoutMs } = this.#limits
    const late = () => new PeerTimeoutError('no stream could be opened in time')
    using deadline = new Deadline(requestTimeoutMs, late, this.#closed.signal)
    const stream = await connection.newStream(REQUEST_PROTOCOL, { signal: deadline.signal })
    return new RequestChannel(stream, frameBytesMax)
  }

  #gateOf(host: HostId): Gate {
    const { requestsPerHostMax, requestsQueuedPerHostMax } = this.#limits
    const gate = this.#gates.get(host) ?? new Gate(requestsPerHostMax, requestsQueuedPerHostMax)
    this.#gates.set(host, gate)
    return gate
  }
}

function checkAnswer<Request, Answer>(
  peer: string,
  kind: RequestKind<Request, Answer>,
  body: FrameBody,
): Answer {
  if ('error' in body) {
    throw new RemoteError(body.error.code, `host ${peer}: ${body.error.message}`, { host: peer })
  }
  if ('cancelled' in body) throw new PeerProtocolError(`host ${peer} cancelled its answer to ${kind.name}`)
  const answer = kind.answer.safeParse(body.message)
  if (answer.success) return answer.data
  throw new PeerProtocolError(
    `host ${peer} answered ${kind.name} malformed: ${z.prettifyError(answer.error)}`,
  )
}

function asPeerError(peer: string, name: string, error: unknown): Error {
  if (isCloudfsError(error)) return error
  if (error instanceof Error && error.name === 'UnsupportedProtocolError') {
    return new PeerProtocolError(`host ${peer} speaks another version of the protocol`, { cause: error })
  }
  return new PeerUnreachableError(`the connection to host ${peer} broke before ${name} was answered`, {
    cause: error,
  })
}
