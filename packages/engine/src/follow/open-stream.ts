/** Asks another engine for a stream: takes up its challenge, and gives the socket once it answers 101. */
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { Socket } from 'node:net'
import { CloudfsError, HttpMalformedError, StreamLostError } from '@cloudfs/interface'
import type { Address } from '../address.js'
import { stopReading } from './surrender-socket.js'
import { HOST_HEADER, type StreamScope, TICKET_HEADER, ticketOf } from './ticket.js'

/** For connecting and both questions; past it the attempt is given up. */
const OPEN_MS_MAX = 5_000
/** Of an answer that is no stream. */
const ANSWER_BYTES_MAX = 64 * 1024

export interface StreamRequest extends StreamScope {
  readonly address: Address
  /** With the query, as in `/stream?VOLUME`. */
  readonly path: string
  readonly key: Uint8Array
  /** A challenge, if one came with the key. */
  readonly nonce?: string | undefined
  readonly signal: AbortSignal
  /** What the protocol wants besides. */
  readonly headers?: Readonly<Record<string, string>>
}

/** A socket that nobody reads, and what had come on it behind the answer. */
export interface OpenedStream {
  readonly socket: Socket
  readonly early: Buffer
}

/** The other engine answered, and not with a stream; `code` is its own. */
export class StreamRefusedError extends CloudfsError {
  readonly code: string
  readonly status: number

  constructor(status: number, code: string, message: string) {
    super(message)
    this.code = code
    this.status = status
  }
}

/**
 * @throws {StreamRefusedError} as it says
 * @throws {StreamLostError} the connection could not be made, ended, or took too long
 */
export async function openStream(options: StreamRequest): Promise<OpenedStream> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(OPEN_MS_MAX)])
  const given = options.nonce === undefined ? undefined : ticketOf(options.key, options.nonce, options)
  const first = await ask(options, given, signal)
  if ('socket' in first) return first
  const nonce = /^CloudFS nonce="([0-9a-f]{32})"$/.exec(first.challenge ?? '')?.[1]
  if (nonce === undefined) throw first.error
  const second = await ask(options, ticketOf(options.key, nonce, options), signal)
  if ('socket' in second) return second
  throw second.error
}

interface Refusal {
  readonly error: StreamRefusedError
  readonly challenge: string | undefined
}

function ask(
  { address, path, protocol, host, headers }: StreamRequest,
  ticket: string | undefined,
  signal: AbortSignal,
): Promise<OpenedStream | Refusal> {
  const asked = request({
    ...address,
    path,
    agent: false,
    signal,
    headers: {
      ...headers,
      Upgrade: protocol,
      Connection: 'Upgrade',
      [HOST_HEADER]: host,
      ...(ticket === undefined ? {} : { [TICKET_HEADER]: ticket }),
    },
  })
  return new Promise((resolve, reject) => {
    const lost = (cause: unknown): void => {
      const { host: name, port } = address
      const why = cause instanceof Error ? cause.message : String(cause)
      reject(new StreamLostError(`no stream from ${name} port ${port}: ${why}`, { cause }))
    }
    asked.once('upgrade', (answer, socket, early) => {
      if (!(socket instanceof Socket) || answer.headers.upgrade !== protocol) {
        socket.destroy()
        reject(new HttpMalformedError(`${path} was upgraded to what was not asked for`))
        return
      }
      stopReading(socket)
      resolve({ socket, early })
    })
    asked.once('response', (answer) => {
      refusalOf(asked, answer).then(resolve, lost)
    })
    asked.on('error', lost)
    asked.end()
  })
}

async function refusalOf(asked: ClientRequest, answer: IncomingMessage): Promise<Refusal> {
  let text = ''
  answer.setEncoding('utf8')
  for await (const chunk of answer as AsyncIterable<string>) {
    text += chunk
    if (text.length > ANSWER_BYTES_MAX) break
  }
  asked.destroy()
  const status = answer.statusCode ?? 0
  const { code, message } = parseError(text)
  return {
    error: new StreamRefusedError(status, code, message),
    challenge: answer.headers['www-authenticate'],
  }
}

function parseError(text: string): { code: string; message: string } {
  try {
    const body: unknown = JSON.parse(text)
    if (typeof body === 'object' && body !== null && 'code' in body && 'message' in body) {
      const { code, message } = body
      if (typeof code === 'string' && /^ERR_[A-Z0-9_]{1,60}$/.test(code)) {
        return { code, message: String(message).slice(0, 1000) }
      }
    }
  } catch {
    // Whoever answers is no engine.
  }
  return { code: 'ERR_HTTP_MALFORMED', message: 'the answer is not that of an engine' }
}
