/** Requests that are answered before their bodies have come: with an end of the connection, but one that is heard. */
import type { IncomingMessage } from 'node:http'

/** Read and thrown away, so that the answer is not lost: a socket closed with bytes unread resets its connection. */
const LINGER_BYTES_MAX = 1024 * 1024
/** Whoever has not taken the answer and hung up by then is hung up on. */
const LINGER_MS_MAX = 2_000

export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** Resolves once the connection may be closed. To be called when the whole answer is on its way. */
export function letBodyGo(request: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let bytes = 0
    const done = (): void => {
      clearTimeout(timer)
      resolve()
    }
    const timer = setTimeout(done, LINGER_MS_MAX)
    // Of a client that has ended its side nothing more comes.
    if (request.destroyed || request.complete || request.socket.readableEnded) {
      done()
      return
    }
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > LINGER_BYTES_MAX) request.pause()
    })
    request.on('error', done)
    request.once('end', done)
    request.once('close', done)
    request.resume()
  })
}
