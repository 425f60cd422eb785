import { createDecipheriv, createPrivateKey, createPublicKey, diffieHellman, hkdfSync } from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { seal, SEAL_BYTES, unseal } from './index.js'

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
const given = fc.record({
  contents: fc.uint8Array(),
  associated: fc.uint8Array(),
  seed: bytes32,
  fresh: bytes32,
})
const publicKeyOf = (seed: Uint8Array) => ed25519.getPublicKey(seed)

test('what is sealed to a host opens with its key', () => {
  fc.assert(
    fc.property(given, ({ contents, associated, seed, fresh }) => {
      const box = seal(contents, publicKeyOf(seed), associated, () => fresh)
      expect(box.length).toBe(contents.length + SEAL_BYTES)
      expect(unseal(box, seed, associated)).toEqual(contents)
    }),
  )
})

test('a box opens with OpenSSL alone, by the steps that docs/protocol.md lists', () => {
  const seed = new Uint8Array(32).fill(7)
  const associated = Buffer.from('what it belongs to')
  const box = seal(Buffer.from('contents'), publicKeyOf(seed), associated, () => new Uint8Array(32).fill(9))

  const x25519 = (bytes: Uint8Array, tail: string) => Buffer.concat([Buffer.from(tail, 'hex'), bytes])
  const own = createPrivateKey({
    key: x25519(ed25519.utils.toMontgomerySecret(seed), '302e020100300506032b656e04220420'),
    format: 'der',
    type: 'pkcs8',
  })
  const ownPublic = Buffer.from(createPublicKey(own).export({ format: 'jwk' }).x!, 'base64url')
  const freshPublic = createPublicKey({
    key: x25519(box.subarray(0, 32), '302a300506032b656e032100'),
    format: 'der',
    type: 'spki',
  })
  const agreed = diffieHellman({ privateKey: own, publicKey: freshPublic })
  const salt = Buffer.concat([box.subarray(0, 32), ownPublic])
  const derived = Buffer.from(hkdfSync('sha256', agreed, salt, 'cloudfs sealed box 1', 44))
  const decipher = createDecipheriv('chacha20-poly1305', derived.subarray(0, 32), derived.subarray(32), {
    authTagLength: 16,
  })
  decipher.setAAD(associated, { plaintextLength: 8 })
  decipher.setAuthTag(box.subarray(-16))
  expect(decipher.update(box.subarray(32, -16)).toString()).toBe('contents')
  decipher.final()
})

const broken = expect.objectContaining({ code: 'ERR_SEAL_BROKEN' })

test('another key, other associated bytes, or one changed or missing byte: the box stays shut', () => {
  fc.assert(
    fc.property(
      given,
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      ({ contents, associated, seed, fresh }, at, flip) => {
        const box = seal(contents, publicKeyOf(seed), associated, () => fresh)
        const otherSeed = seed.with(at % 32, seed[at % 32]! ^ flip)
        expect(() => unseal(box, otherSeed, associated)).toThrow(broken)
        expect(() => unseal(box, seed, Uint8Array.of(...associated, 0))).toThrow(broken)
        expect(() => unseal(box.subarray(0, at % box.length), seed, associated)).toThrow(broken)
        // The top bit of an X25519 key is ignored by its definition, and bound in by the derivation's salt.
        const place = at % box.length
        expect(() => unseal(box.with(place, box[place]! ^ flip), seed, associated)).toThrow(broken)
      },
    ),
  )
})

test.each([
  ['too short', new Uint8Array(31)],
  ['not on the curve', Uint8Array.of(2, ...new Uint8Array(31))],
  ['of small order', Uint8Array.of(1, ...new Uint8Array(31))],
])('nothing is sealed to a public key that is %s', (_why, publicKey) => {
  expect(() =>
    seal(new Uint8Array(8), publicKey, new Uint8Array(), () => new Uint8Array(32).fill(1)),
  ).toThrow(expect.objectContaining({ code: 'ERR_HOST_KEY_INVALID' }))
})
