/**
 * What a host says of itself, signed with its host key, so that others can pass it on and nobody can change it on the
 * way (docs/wire-protocol.md, "Announcement").
 */
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import { bytesToHex, HostId, hexToBytes, StoreId } from '@cloudfs/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { z } from 'zod'
import { PeerProtocolError } from './errors.js'
import type { HostKey } from './host-key.js'
import { PEER_LIMITS } from './limits.js'

const SIGNATURE_LABEL = 'cloudfs announcement 1\0'
const STORES_MAX = 64

const port = z.int().min(0).max(65535)
const bytes = z.int().min(0)

/** A host id in a message. */
export const HostIdField = z.string().transform((text, context): HostId => {
  if (HostId.is(text)) return text
  context.issues.push({ code: 'custom', message: 'not a host id', input: text })
  return z.NEVER
})

const storeId = z.string().transform((text, context): StoreId => {
  if (StoreId.is(text)) return text
  context.issues.push({ code: 'custom', message: 'not a store id', input: text })
  return z.NEVER
})

const address = z
  .string()
  .max(256)
  .refine((text) => {
    try {
      return multiaddr(text).getComponents().length > 0
    } catch {
      return false
    }
  }, 'not a multiaddr')

const store = z.strictObject({ storeId, capacityBytes: bytes, freeBytes: bytes })

/** What the owner of a node tells the others about its host. */
export const HostInfo = z.object({
  /** Failure domain, outermost part first, as in `berlin/rack4`; empty: none given. */
  zone: z
    .string()
    .max(255)
    .regex(/^([\w.-]+(\/[\w.-]+)*)?$/, 'parts of letters, digits, dots, dashes, separated by /'),
  /** An operator is emptying the host. */
  draining: z.boolean(),
  stores: z.array(store).max(STORES_MAX),
  /** Port of the replicator's HTTP API; 0: none. */
  httpPort: port,
  /** Port of the engine's HTTP and streams; 0: none. */
  enginePort: port,
  /** Of CloudFS, for people. */
  version: z.string().max(64),
})
export type HostInfo = z.infer<typeof HostInfo>

/** Later versions may say more: unknown fields are passed over here, and passed on with the rest. */
const Announcement = HostInfo.extend({
  hostId: HostIdField,
  publicKey: z.string().regex(/^[0-9a-f]{64}$/),
  addresses: z.array(address).max(PEER_LIMITS.addressesMax),
  /** Grows with each announcement of the host, across restarts too. */
  revision: z.int().min(0),
})
export type Announcement = z.infer<typeof Announcement>

/** As it travels: the text that was signed, exactly. */
export const SignedAnnouncement = z.strictObject({
  text: z.string().max(PEER_LIMITS.announcementBytesMax),
  signature: z.string().regex(/^[0-9a-f]{128}$/),
})
export type SignedAnnouncement = z.infer<typeof SignedAnnouncement>

export function signAnnouncement(announcement: Announcement, key: HostKey): SignedAnnouncement {
  const text = JSON.stringify(announcement)
  const signature = sign(null, signedBytes(text), createPrivateKey(key.toPem()))
  return { text, signature: bytesToHex(signature) }
}

/**
 * What a signed announcement says, if it is news.
 *
 * @param isNews - asked before the signature is checked, which costs a hundred times what the question does
 * @throws {PeerProtocolError} the text is not an announcement, or its signature is not by the key it names
 */
export function verifyAnnouncement(
  signed: SignedAnnouncement,
  isNews: (announcement: Announcement) => boolean = () => true,
): Announcement | undefined {
  const announcement = parse(signed.text)
  if (!isNews(announcement)) return undefined
  const x = Buffer.from(announcement.publicKey, 'hex').toString('base64url')
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  if (!verify(null, signedBytes(signed.text), key, hexToBytes(signed.signature))) {
    throw new PeerProtocolError(`an announcement of host ${announcement.hostId} is not signed by its key`)
  }
  return announcement
}

function parse(text: string): Announcement {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new PeerProtocolError('an announcement is not JSON', { cause })
  }
  const parsed = Announcement.safeParse(value)
  if (!parsed.success) {
    throw new PeerProtocolError(`an announcement is malformed: ${z.prettifyError(parsed.error)}`)
  }
  return parsed.data
}

function signedBytes(text: string): Uint8Array {
  return Buffer.from(SIGNATURE_LABEL + text, 'utf8')
}
