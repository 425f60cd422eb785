/**
 * What lets one engine have streams of another's volumes (docs/wire-protocol.md, Tickets). The primary keeps no table of
 * followers: a follower's key follows from the stamp of the volume's view, and each connection proves the key anew by
 * answering a challenge. So keys survive restarts, and end with the view.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { HostId, Stamp, VolumeId } from '@cloudfs/interface'
import type { UPGRADE_RECORDS, UPGRADE_SESSION } from '../http-protocols.js'

export const NONCE_BYTES = 16

/** Names the asking host in a request for an upgrade. */
export const HOST_HEADER = 'x-cloudfs-host'
/** `NONCE.PROOF`, both in hex. */
export const TICKET_HEADER = 'x-cloudfs-ticket'

/** Whose streams are meant, and of which kind. */
export interface StreamScope {
  /** What the connection is upgraded to: a key for one protocol opens no other. */
  readonly protocol: typeof UPGRADE_RECORDS | typeof UPGRADE_SESSION
  readonly volume: VolumeId
  /** The host that asks. */
  readonly host: HostId
}

/** What the volume's primary gives `host` over the peer channel. */
export function followKeyOf(stamp: Stamp, { protocol, volume, host }: StreamScope): Buffer {
  return createHmac('sha256', Stamp.toBytes(stamp))
    .update(protocol)
    .update(VolumeId.toBytes(volume))
    .update(HostId.toBytes(host))
    .digest()
}

/** The answer to a challenge. @param nonce - in hex, as it was given */
export function ticketOf(key: Uint8Array, nonce: string, scope: StreamScope): string {
  return `${nonce}.${proofOf(key, nonce, scope).toString('hex')}`
}

/** A ticket's parts, if it has the shape of one; nothing is proven yet. */
export function parseTicket(ticket: string): { nonce: string; proof: Buffer } | undefined {
  const match = /^([0-9a-f]{32})\.([0-9a-f]{64})$/.exec(ticket)
  if (match?.[1] === undefined || match[2] === undefined) return undefined
  return { nonce: match[1], proof: Buffer.from(match[2], 'hex') }
}

export function isProven(
  key: Uint8Array,
  { nonce, proof }: { nonce: string; proof: Buffer },
  scope: StreamScope,
): boolean {
  return timingSafeEqual(proofOf(key, nonce, scope), proof)
}

function proofOf(key: Uint8Array, nonce: string, { volume, host }: StreamScope): Buffer {
  return createHmac('sha256', key)
    .update(Buffer.from(nonce, 'hex'))
    .update(VolumeId.toBytes(volume))
    .update(HostId.toBytes(host))
    .digest()
}
