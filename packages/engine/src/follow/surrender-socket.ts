/** Sockets that leave JavaScript for a native thread. */
import type { Socket } from 'node:net'
import { StreamLostError } from '@cloudfs/interface'

/** What libuv's handle of a TCP socket offers in every version of Node; no public API gives a socket's descriptor. */
interface TcpHandle {
  readonly fd: number
  reading: boolean
  readStop(): void
}

/** A half-open connection is noticed after this long, and as many probes at a second's distance. */
const KEEP_ALIVE_DELAY_MS = 5_000

/**
 * Has Node read nothing more from the socket, so that what comes is for whoever takes the descriptor over. To be called
 * in the very event that gave the socket: later Node may have read on.
 */
export function stopReading(socket: Socket): void {
  const handle = handleOf(socket)
  handle.readStop()
  // So that Node takes it to be reading: a stream with room in its buffer would else start to, in the next tick.
  handle.reading = true
  socket.setKeepAlive(true, KEEP_ALIVE_DELAY_MS)
}

/** The socket's descriptor, valid until the socket is destroyed. @throws {StreamLostError} */
export function descriptorOf(socket: Socket): number {
  return handleOf(socket).fd
}

/** @throws {StreamLostError} the connection has ended already */
function handleOf(socket: Socket): TcpHandle {
  const { _handle: handle } = socket as unknown as { readonly _handle: TcpHandle | null | undefined }
  if (handle === null || handle === undefined) throw new StreamLostError('the connection has ended')
  return handle
}
