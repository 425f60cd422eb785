/**
 * Messages on a stream between replicators (docs/wire-protocol.md, "Requests"). A frame's length is checked before its
 * bytes are waited for, and a stream buffers little more than one frame each way.
 */
import './promise-with-resolvers.js'
import { JoinedSignal, KIB } from '@cloudfs/interface'
import type { Stream } from '@libp2p/interface'
import { byteStream } from '@libp2p/utils'
import { z } from 'zod'
import { reasonOf } from './deadline.js'
import { MessageTooLongError, PeerProtocolError } from './errors.js'

const FRAME_HEADER_BYTES = 12
export const NAME_BYTES_MAX = 64

/** A value that JSON carries. */
export type Json =
  null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined }

/** What a request or an answer says: JSON, or bytes as they are. */
export type Message = Json | Uint8Array

/** What an answer says went wrong. */
const FrameError = z.object({ code: z.string().regex(/^ERR_[A-Z0-9_]{1,60}$/), message: z.string() })
type FrameError = z.infer<typeof FrameError>

export interface Frame {
  /** Ties an answer to its request: chosen by the asking side, different for all it has under way on the stream. */
  readonly id: number
  /** Of the request; empty in an answer. */
  readonly name: string
  readonly body: FrameBody
}

export type FrameBody =
  | { readonly message: Message }
  | { readonly error: FrameError }
  /** The asking side no longer waits for the answer. */
  | { readonly cancelled: true }

/** Of frames that leave together; a longer one leaves alone. */
const TOGETHER_BYTES_MAX = 64 * KIB

interface Unwritten {
  readonly encoded: Uint8Array
  readonly signal: AbortSignal
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

const KINDS = { json: 1, bytes: 2, error: 3, cancel: 4 } as const
const ERROR_TEXT_CHARACTERS_MAX = 4096
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** @throws {MessageTooLongError} the body is longer than `bodyBytesMax` */
export function encodeFrame(frame: Frame, bodyBytesMax: number): Uint8Array {
  const name = Buffer.from(frame.name, 'latin1')
  const { kind, body } = encodeBody(frame.body)
  if (body.length > bodyBytesMax) {
    throw new MessageTooLongError(
      `a message of ${String(body.length)} bytes; ${String(bodyBytesMax)} are the most`,
    )
  }
  const header = Buffer.alloc(FRAME_HEADER_BYTES)
  header.writeUInt32LE(body.length, 0)
  header.writeUInt8(kind, 4)
  header.writeUInt8(name.length, 5)
  header.writeUInt32LE(frame.id, 8)
  return Buffer.concat([header, name, body])
}

/** Frames of one stream. Bytes that are not frames are an error, after which the stream is of no use. */
export class FrameStream {
  readonly #stream: Stream
  readonly #bytes: ReturnType<typeof byteStream>
  readonly #bodyBytesMax: number
  readonly #unwritten: Unwritten[] = []
  #isWriting = false

  constructor(stream: Stream, bodyBytesMax: number) {
    this.#stream = stream
    // Whoever owns this reads on without waiting for anything else, so what piles up is what one event brings.
    this.#bytes = byteStream(stream, {
      maxBufferSize: 2 * (FRAME_HEADER_BYTES + NAME_BYTES_MAX + bodyBytesMax),
    })
    this.#bodyBytesMax = bodyBytesMax
  }

  /**
   * The next frame. One call at a time.
   *
   * @throws {PeerProtocolError} the bytes are not a frame
   * @throws what the stream fails with; its end is a failure
   */
  async read(): Promise<Frame> {
    const header = await this.#read(FRAME_HEADER_BYTES)
    const bodyBytes = header.readUInt32LE(0)
    const kind = header.readUInt8(4)
    const nameBytes = header.readUInt8(5)
    const id = header.readUInt32LE(8)
    if (header.readUInt16LE(6) !== 0) throw new PeerProtocolError('reserved bytes of a frame are not zero')
    if (bodyBytes > this.#bodyBytesMax) {
      throw new PeerProtocolError(
        `a frame of ${String(bodyBytes)} bytes; ${String(this.#bodyBytesMax)} are the most`,
      )
    }
    if (nameBytes > NAME_BYTES_MAX) throw new PeerProtocolError(`a name of ${String(nameBytes)} bytes`)
    const name = (await this.#read(nameBytes)).toString('latin1')
    return { id, name, body: decodeBody(kind, await this.#read(bodyBytes)) }
  }

  /**
   * Resolves once the stream has taken the frame, after those before it: a reader that does not read holds the writers up,
   * not the memory. Given up before its turn a frame is left out; when all that leave together are given up in their turn the
   * stream ends, for nobody could tell the frames behind them apart.
   *
   * What is written while the event loop looks after what has come leaves together: a frame by itself costs an encryption, a
   * system call, and an answer of the multiplexer.
   */
  write(encoded: Uint8Array, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#unwritten.push({ encoded, signal, resolve, reject })
      if (this.#isWriting) return
      this.#isWriting = true
      setImmediate(() => {
        this.#writeAll().catch(reject)
      })
    })
  }

  /** Until nothing waits. */
  async #writeAll(): Promise<void> {
    for (;;) {
      const batch = this.#takeBatch()
      if (batch.length === 0) break
      try {
        using given = new AllGivenUp(batch)
        await this.#bytes.write(joined(batch.map(({ encoded }) => encoded)), { signal: given.signal })
        for (const { resolve } of batch) resolve()
      } catch (error) {
        this.#stream.abort(error instanceof Error ? error : new Error('not written', { cause: error }))
        for (const { reject } of batch) reject(error)
      }
    }
    this.#isWriting = false
  }

  /** Those whose turn it is, without those that were given up. */
  #takeBatch(): Unwritten[] {
    const batch: Unwritten[] = []
    let bytes = 0
    for (let next = this.#unwritten[0]; next !== undefined; next = this.#unwritten[0]) {
      if (batch.length > 0 && bytes + next.encoded.length > TOGETHER_BYTES_MAX) break
      this.#unwritten.shift()
      if (next.signal.aborted) {
        next.reject(reasonOf(next.signal))
        continue
      }
      batch.push(next)
      bytes += next.encoded.length
    }
    return batch
  }

  async #read(count: number): Promise<Buffer> {
    if (count === 0) return Buffer.alloc(0)
    const bytes = (await this.#bytes.read({ bytes: count })).subarray()
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }
}

/** Ends when nobody waits for any of the frames that leave together. Who gives one up hears so at once; its bytes leave with the others. */
class AllGivenUp implements Disposable {
  readonly #controller = new AbortController()
  readonly #signals: readonly JoinedSignal[]

  constructor(batch: readonly Unwritten[]) {
    let waiting = batch.length
    this.#signals = batch.map(({ signal, reject }) => {
      const own = new JoinedSignal([signal])
      own.signal.addEventListener('abort', () => {
        reject(reasonOf(signal))
        if (--waiting === 0) this.#controller.abort(signal.reason)
      })
      return own
    })
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  [Symbol.dispose](): void {
    for (const each of this.#signals) each[Symbol.dispose]()
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts)
}

function encodeBody(body: FrameBody): { kind: number; body: Buffer } {
  if ('error' in body) {
    const message = body.error.message.slice(0, ERROR_TEXT_CHARACTERS_MAX)
    return { kind: KINDS.error, body: Buffer.from(JSON.stringify({ code: body.error.code, message })) }
  }
  if ('cancelled' in body) return { kind: KINDS.cancel, body: Buffer.alloc(0) }
  if (body.message instanceof Uint8Array) return { kind: KINDS.bytes, body: Buffer.from(body.message) }
  return { kind: KINDS.json, body: Buffer.from(JSON.stringify(body.message)) }
}

function decodeBody(kind: number, bytes: Buffer): FrameBody {
  switch (kind) {
    case KINDS.json:
      return { message: parseJson(bytes) }
    case KINDS.bytes:
      return { message: new Uint8Array(bytes) }
    case KINDS.error:
      return { error: asError(parseJson(bytes)) }
    case KINDS.cancel:
      if (bytes.length > 0) throw new PeerProtocolError('a cancel frame with a body')
      return { cancelled: true }
    default:
      throw new PeerProtocolError(`a frame of the unknown kind ${String(kind)}`)
  }
}

function parseJson(bytes: Uint8Array): Json {
  try {
    return JSON.parse(utf8.decode(bytes)) as Json
  } catch (cause) {
    throw new PeerProtocolError('a frame holds no JSON', { cause })
  }
}

function asError(value: Json): FrameError {
  const error = FrameError.safeParse(value)
  if (!error.success) throw new PeerProtocolError('an error without a code')
  return error.data
}
