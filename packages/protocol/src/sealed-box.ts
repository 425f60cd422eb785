/**
 * Bytes that one host alone can read, sealed to its Ed25519 host key (docs/protocol.md, "Sealed box").
 *
 * X25519 with a fresh key, HKDF-SHA-256, ChaCha20-Poly1305: the shape of libsodium's sealed box and of age, with the
 * parts that node:crypto has. Host keys sign (Noise, libp2p) as Ed25519 and agree as X25519 over the same curve, as age
 * does with SSH keys; the derivation's label keeps the uses apart.
 */
import assert from 'node:assert'
import { createCipheriv, createDecipheriv, diffieHellman, hkdfSync, type KeyObject } from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import { CURVE_KEY_BYTES, publicBytesOf, publicKeyOf, secretKeyOf } from './curve-keys.js'
import { HostKeyInvalidError, SealBrokenError } from './errors.js'
import type { RandomBytes } from './secret-sharing.js'

/** What a sealed box adds to its contents: the fresh public key before, the authenticator behind. */
export const SEAL_BYTES = 48

const TAG_BYTES = 16
const CIPHER = 'chacha20-poly1305'
const LABEL = 'cloudfs sealed box 1'

/**
 * Seals `contents` to the host whose public key this is.
 *
 * @param associated - what the box belongs to: opening needs the same bytes, which are not in the box
 * @throws {HostKeyInvalidError} `publicKey` is not an Ed25519 public key
 */
export function seal(
  contents: Uint8Array,
  publicKey: Uint8Array,
  associated: Uint8Array,
  randomBytes: RandomBytes,
): Uint8Array {
  const freshBytes = randomBytes(CURVE_KEY_BYTES)
  assert(freshBytes.length === CURVE_KEY_BYTES, 'as many random bytes as asked for')
  const freshSecret = secretKeyOf('x25519', freshBytes)
  const freshPublic = publicBytesOf(freshSecret)
  const recipient = agreementKeyOf(publicKey)
  const { key, nonce } = deriveKey(agree(freshSecret, recipient), freshPublic, recipient)
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(associated, { plaintextLength: contents.length })
  return Uint8Array.from(
    Buffer.concat([freshPublic, cipher.update(contents), cipher.final(), cipher.getAuthTag()]),
  )
}

/**
 * What was sealed to the host whose secret key has this seed.
 *
 * @param seed - the 32 bytes an Ed25519 secret key is made of
 * @throws {SealBrokenError} the box was sealed to another key or for another use, or was changed
 */
export function unseal(box: Uint8Array, seed: Uint8Array, associated: Uint8Array): Uint8Array {
  assert(seed.length === CURVE_KEY_BYTES, 'a seed has 32 bytes')
  if (box.length < SEAL_BYTES)
    throw new SealBrokenError(`a sealed box of ${String(box.length)} bytes is cut short`)
  const freshPublic = box.subarray(0, CURVE_KEY_BYTES)
  const contents = box.subarray(CURVE_KEY_BYTES, box.length - TAG_BYTES)
  const secret = secretKeyOf('x25519', ed25519.utils.toMontgomerySecret(seed))
  try {
    const { key, nonce } = deriveKey(agree(secret, freshPublic), freshPublic, publicBytesOf(secret))
    const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(associated, { plaintextLength: contents.length })
    decipher.setAuthTag(box.subarray(box.length - TAG_BYTES))
    return Uint8Array.from(Buffer.concat([decipher.update(contents), decipher.final()]))
  } catch (cause) {
    throw new SealBrokenError(
      'a sealed box does not open: sealed to another key, for another use, or changed',
      {
        cause,
      },
    )
  }
}

/** At this many hosts all are forgotten, and computed anew. */
const AGREEMENT_KEYS_MAX = 4_096
const agreementKeys = new Map<string, Uint8Array>()

/**
 * The X25519 form of an Ed25519 public key. Computed once for each host: it costs as much as all else of a box, and whoever comes
 * to lead many volumes at once seals to the same few hosts.
 */
function agreementKeyOf(publicKey: Uint8Array): Uint8Array {
  const name = Buffer.from(publicKey).toString('latin1')
  const known = agreementKeys.get(name)
  if (known !== undefined) return known
  try {
    const key = ed25519.utils.toMontgomery(publicKey)
    if (agreementKeys.size >= AGREEMENT_KEYS_MAX) agreementKeys.clear()
    agreementKeys.set(name, key)
    return key
  } catch (cause) {
    throw new HostKeyInvalidError('not an Ed25519 public key', { cause })
  }
}

/** X25519; refuses points of small order, whose result anybody could guess. */
function agree(secret: KeyObject, publicKey: Uint8Array): Uint8Array {
  try {
    return diffieHellman({ privateKey: secret, publicKey: publicKeyOf('x25519', publicKey) })
  } catch (cause) {
    throw new HostKeyInvalidError('not a public key that a secret can be agreed with', { cause })
  }
}

/** Key and nonce are used once, because the fresh key is. Both public keys are bound in, so a box has one recipient. */
function deriveKey(agreed: Uint8Array, freshPublic: Uint8Array, recipient: Uint8Array) {
  const derived = new Uint8Array(
    hkdfSync('sha256', agreed, Buffer.concat([freshPublic, recipient]), LABEL, 44),
  )
  return { key: derived.subarray(0, 32), nonce: derived.subarray(32) }
}
