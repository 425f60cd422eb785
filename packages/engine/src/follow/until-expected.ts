/** A connection that comes before this host leads its volume, but is expected to. */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { type HostId, StreamLostError, type VolumeId } from '@cloudfs/interface'
import type { ExpectedLeads } from './expected-leads.js'
import type { StreamScope } from './ticket.js'
import type { TicketGate } from './ticket-gate.js'

/**
 * Waits until this host leads the volume, as far as `stage` says.
 *
 * @returns the host whose ticket was checked before; undefined: nothing is expected, and nothing was checked
 * @throws {TicketError} {NotPrimaryError} {StreamLostError}
 */
export async function untilExpected({
  expected,
  stage,
  gate,
  request,
  socket,
  volume,
  protocol,
}: {
  readonly expected: ExpectedLeads
  readonly stage: 'elected' | 'leading'
  readonly gate: TicketGate
  readonly request: IncomingMessage
  readonly socket: Socket
  readonly volume: VolumeId
  readonly protocol: StreamScope['protocol']
}): Promise<HostId | undefined> {
  const stamp = expected.stampBefore(stage, volume)
  if (stamp === undefined) return undefined
  const host = await gate.checkExpected(request, { volume, protocol, stamp })
  const gone = new AbortController()
  const onGone = (): void => {
    gone.abort(new StreamLostError(`host ${host} did not wait until volume ${volume} is led here`))
  }
  socket.once('close', onGone)
  try {
    if (socket.destroyed) onGone()
    await expected.until(stage, volume, gone.signal)
  } finally {
    socket.off('close', onGone)
  }
  return host
}
