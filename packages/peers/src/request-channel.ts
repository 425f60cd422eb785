/**
 * The asking end of a stream of requests: one for each connection and direction, kept open, many requests under way on
 * it, answered in any order.
 *
 * Opening a libp2p stream for each request is simpler and costs twenty times the processor time (negotiation, peer store):
 * with pings to hundreds of hosts that is most of a core.
 */
import type { Stream } from '@libp2p/interface'
import { orAborted } from './deadline.js'
import { PeerProtocolError } from './errors.js'
import { encodeFrame, type FrameBody, FrameStream, type Message } from './frame.js'

export class RequestChannel {
  readonly #frames: FrameStream
  readonly #stream: Stream
  readonly #frameBytesMax: number
  readonly #waiting = new Map<
    number,
    { resolve: (body: FrameBody) => void; reject: (error: unknown) => void }
  >()
  #nextId = 1
  #failure: Error | undefined

  constructor(stream: Stream, frameBytesMax: number) {
    this.#stream = stream
    this.#frameBytesMax = frameBytesMax
    this.#frames = new FrameStream(stream, frameBytesMax)
    this.#readAll().catch((error: unknown) => {
      this.#fail(error)
    })
  }

  get isOpen(): boolean {
    return this.#failure === undefined && this.#stream.status === 'open'
  }

  /**
   * The body of the answer. Given up, the other end is told, and the answer, should it still come, is dropped.
   *
   * @throws {MessageTooLongError} nothing was sent
   * @throws what the stream fails with; the signal's reason
   */
  async ask(name: string, message: Message, signal: AbortSignal): Promise<FrameBody> {
    if (this.#failure !== undefined) throw this.#failure
    const id = this.#takeId()
    const request = encodeFrame({ id, name, body: { message } }, this.#frameBytesMax)
    const answered = new Promise<FrameBody>((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
    answered.catch(() => undefined)
    try {
      // A host that is busy may answer before it has read all.
      const written = this.#frames.write(request, signal)
      await orAborted(Promise.race([answered, written]), signal)
      return await orAborted(answered, signal)
    } catch (error) {
      if (signal.aborted && this.isOpen) this.#cancel(id)
      throw error
    } finally {
      this.#waiting.delete(id)
    }
  }

  close(reason: Error): void {
    this.#stream.abort(reason)
  }

  async #readAll(): Promise<never> {
    while (true) {
      const { id, name, body } = await this.#frames.read()
      if (name !== '' || 'cancelled' in body) throw new PeerProtocolError('an answer that is a request')
      this.#waiting.get(id)?.resolve(body)
    }
  }

  #cancel(id: number): void {
    const cancel = encodeFrame({ id, name: '', body: { cancelled: true } }, this.#frameBytesMax)
    this.#frames.write(cancel, new AbortController().signal).catch((error: unknown) => {
      this.#fail(error)
    })
  }

  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error('the stream failed', { cause: error })
    this.#stream.abort(this.#failure)
    for (const { reject } of this.#waiting.values()) reject(this.#failure)
  }

  /** Ids are used again after four thousand million requests; by then the first is long answered. */
  #takeId(): number {
    const id = this.#nextId
    this.#nextId = id === 0xffff_ffff ? 1 : id + 1
    return id
  }
}
