/** Leads an endpoint to its volume's primary at another host: JavaScript opens the connection, the rest is native. */
import type { HostId, VolumeId } from '@cloudfs/interface'
import type { StoreHandle } from '@cloudfs/native'
import type { Address } from '../address.js'
import { openStream } from '../follow/open-stream.js'
import { descriptorOf } from '../follow/surrender-socket.js'
import { SESSION_HEADER, UPGRADE_SESSION } from '../http-protocols.js'

export interface RouteThere {
  readonly handle: StoreHandle
  readonly host: HostId
  readonly volume: VolumeId
  readonly session: string
  readonly address: Address
  /** Hex. */
  readonly key: string
  readonly nonce?: string | undefined
  readonly isNext?: boolean | undefined
  readonly signal: AbortSignal
}

/**
 * Resolves once the session is open there.
 *
 * @throws what the other engine answered (ERR_NOT_PRIMARY, ERR_SESSION_ENDED, ERR_UNKNOWN_VOLUME, ERR_TICKET, …);
 *   ERR_STREAM_LOST, ERR_ROUTE_PROTOCOL; ERR_UNKNOWN_ENDPOINT
 */
export async function routeThere(options: RouteThere): Promise<void> {
  const { handle, volume, session, isNext = false } = options
  const { socket, early } = await openStream({
    address: options.address,
    path: `/session?${volume}`,
    protocol: UPGRADE_SESSION,
    headers: { [SESSION_HEADER]: session },
    volume,
    host: options.host,
    key: Buffer.from(options.key, 'hex'),
    nonce: options.nonce,
    signal: options.signal,
  })
  socket.on('error', () => undefined)
  try {
    await handle.routeThere({ fd: descriptorOf(socket), volume, session, early, isNext })
  } finally {
    socket.destroy()
  }
}
