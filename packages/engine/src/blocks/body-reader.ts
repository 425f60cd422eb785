/**
 * The body of a request, read a piece at a time: the socket is read no faster than pieces are taken. A body that ends too
 * soon, or stalls, is an error that can still be answered wherever the client listens.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { HttpBodyError } from '@cloudfs/interface'

/** A client that sends nothing for this long is given up. */
const BODY_IDLE_MS_MAX = 30_000

/** By their sockets: who is told that what comes there is not HTTP any more. */
const readers = new WeakMap<Duplex, BodyReader>()

/**
 * For the server: what came on `socket` breaks its protocol, or ended in the midst.
 *
 * @returns whether a body is being read there, whose reader answers
 */
export function failBody(socket: Duplex, why: string): boolean {
  const reader = readers.get(socket)
  reader?.fail(new HttpBodyError(why))
  return reader !== undefined
}

export class BodyReader {
  readonly #request: IncomingMessage
  readonly #idleMsMax: number
  #error: Error | undefined
  #wake = (): void => undefined
  #left: Buffer | undefined

  /** From now on the body is read; its end is `close`. */
  constructor(request: IncomingMessage, idleMsMax = BODY_IDLE_MS_MAX) {
    this.#request = request
    this.#idleMsMax = idleMsMax
    readers.set(request.socket, this)
    request.on('readable', this.#onChange)
    request.on('end', this.#onChange)
    request.on('close', this.#onChange)
    request.on('error', this.#onError)
  }

  /**
   * The next `bytes` bytes.
   *
   * @returns fewer, also none, only where the body ends
   * @throws {HttpBodyError} it stops before its end
   */
  async take(bytes: number): Promise<Buffer> {
    const parts: Buffer[] = []
    let missing = bytes
    while (missing > 0) {
      const chunk = this.#left ?? (await this.#next())
      if (chunk === undefined) break
      this.#left = chunk.length > missing ? chunk.subarray(missing) : undefined
      const part = chunk.subarray(0, missing)
      parts.push(part)
      missing -= part.length
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts)
  }

  fail(error: Error): void {
    this.#error ??= error
    this.#wake()
  }

  close(): void {
    const request = this.#request
    if (readers.get(request.socket) === this) readers.delete(request.socket)
    request.off('readable', this.#onChange)
    request.off('end', this.#onChange)
    request.off('close', this.#onChange)
    // The error's listener stays: what happens to the connection later is nobody's.
  }

  async #next(): Promise<Buffer | undefined> {
    const request = this.#request
    for (;;) {
      const chunk = request.read() as Buffer | null
      if (chunk !== null) return chunk
      if (request.readableEnded) return undefined
      if (this.#error !== undefined) throw this.#error
      if (request.destroyed) throw new HttpBodyError('the client hung up in the midst of the body')
      await this.#changed()
    }
  }

  #changed(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.fail(new HttpBodyError(`no byte of the body came for ${String(this.#idleMsMax)} ms`))
      }, this.#idleMsMax)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  readonly #onChange = (): void => {
    this.#wake()
  }

  readonly #onError = (error: Error): void => {
    this.fail(new HttpBodyError('the connection broke in the midst of the body', { cause: error }))
  }
}
