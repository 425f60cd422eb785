import fc from 'fast-check'
import { expect, test } from 'vitest'
import { invert, multiply } from './gf256.js'
import { joinShares, splitSecret } from './secret-sharing.js'

const byte = fc.integer({ min: 0, max: 255 })

test('GF(256): multiplication is that of the field: published product, distributive, associative, with inverses', () => {
  expect(multiply(0x57, 0x83)).toBe(0xc1) // FIPS 197, section 4.2
  fc.assert(
    fc.property(byte, byte, byte, (a, b, c) => {
      expect(multiply(a, b)).toBe(multiply(b, a))
      expect(multiply(a, multiply(b, c))).toBe(multiply(multiply(a, b), c))
      expect(multiply(a, b ^ c)).toBe(multiply(a, b) ^ multiply(a, c))
      expect(multiply(a, 1)).toBe(a)
    }),
  )
  for (let a = 1; a < 256; a++) expect(multiply(a, invert(a))).toBe(1)
})

const split = fc
  .record({
    secret: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    points: fc.uniqueArray(fc.integer({ min: 1, max: 255 }), { minLength: 1, maxLength: 9 }),
    entropy: fc.infiniteStream(byte),
    part: fc.double({ min: 0, max: 1, noNaN: true }),
    order: fc.array(fc.nat(), { minLength: 9, maxLength: 9 }),
  })
  .map(({ secret, points, entropy, part, order }) => {
    const threshold = 1 + Math.floor(part * (points.length - 1))
    const random = (count: number) => Uint8Array.from({ length: count }, () => Number(entropy.next().value))
    const shares = splitSecret(secret, points, threshold, random)
    const shuffled = shares
      .map((share, index) => ({ share, rank: order[index] ?? 0 }))
      .sort((a, b) => a.rank - b.rank)
      .map((each) => each.share)
    return { secret, threshold, shuffled }
  })

test('any shares that reach the threshold give the secret back, in any order', () => {
  fc.assert(
    fc.property(split, ({ secret, threshold, shuffled }) => {
      for (let count = threshold; count <= shuffled.length; count++) {
        expect(joinShares(shuffled.slice(0, count))).toEqual(secret)
      }
    }),
  )
})

test('fewer shares than the threshold tell nothing: whatever the secret, each value of them is equally frequent', () => {
  // Exact, for one byte and threshold 2: over all 256 coefficients a share takes each of the 256 values once.
  for (const secret of [0, 1, 0x57, 255]) {
    for (const point of [1, 2, 255]) {
      const seen = new Set<number | undefined>()
      for (let coefficient = 0; coefficient < 256; coefficient++) {
        const [share] = splitSecret(Uint8Array.of(secret), [point, point === 1 ? 2 : 1], 2, () =>
          Uint8Array.of(coefficient),
        )
        seen.add(share?.bytes[0])
      }
      expect(seen.size).toBe(256)
    }
  }
})

test('a share at 0 would be the secret: the point is a bug and refused', () => {
  expect(() => splitSecret(new Uint8Array(32), [0, 1], 2, (n) => new Uint8Array(n))).toThrow(
    /points are 1 to 255/,
  )
  expect(() => splitSecret(new Uint8Array(32), [1, 1], 2, (n) => new Uint8Array(n))).toThrow(/points differ/)
})
