/**
 * Raw Curve25519 keys as node:crypto takes them: OpenSSL signs and agrees a hundred times as fast as JavaScript does cold. As JSON
 * web keys (RFC 8037), whose bytes it is given as they are: on Node 20 its decoder of DER takes ten times as long as the
 * agreement itself.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'

/** Bytes of a key, public or secret, and of the seed that a secret one is made of. */
export const CURVE_KEY_BYTES = 32

const CURVES = { ed25519: 'Ed25519', x25519: 'X25519' } as const

type Curve = keyof typeof CURVES

/** A secret key comes with its public one, which nobody reads: it is computed from the secret. */
const UNREAD = Buffer.alloc(CURVE_KEY_BYTES).toString('base64url')

/** @param bytes - `CURVE_KEY_BYTES`: of Ed25519 the seed */
export function secretKeyOf(curve: Curve, bytes: Uint8Array): KeyObject {
  const key = { kty: 'OKP', crv: CURVES[curve], d: textOf(bytes), x: UNREAD }
  return createPrivateKey({ key, format: 'jwk' })
}

/** @param bytes - `CURVE_KEY_BYTES` @throws what OpenSSL says of bytes that are no key */
export function publicKeyOf(curve: Curve, bytes: Uint8Array): KeyObject {
  return createPublicKey({ key: { kty: 'OKP', crv: CURVES[curve], x: textOf(bytes) }, format: 'jwk' })
}

/** The raw public key of a secret one. */
export function publicBytesOf(secret: KeyObject): Uint8Array {
  const { x = '' } = secret.export({ format: 'jwk' })
  return Uint8Array.from(Buffer.from(x, 'base64url'))
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url')
}
