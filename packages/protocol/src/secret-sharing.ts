/**
 * Shamir's secret sharing over GF(256), byte by byte (A. Shamir, "How to share a secret", 1979).
 *
 * Each byte of the secret is the value at 0 of a random polynomial of degree `threshold` - 1; a share is its value at the
 * share's own point. `threshold` shares determine the polynomial, fewer say nothing at all about the secret. Shares carry
 * no proof of their own: see stamp-slices.ts for what tells a wrong one.
 */
import assert from 'node:assert'
import { invert, multiply } from './gf256.js'

/** Fresh unpredictable bytes: the operating system's in production, seeded in the simulator and tests. */
export type RandomBytes = (count: number) => Uint8Array

/** A share: `bytes` is as long as the secret. */
export interface Share {
  /** 1 to 255, different for each share of a secret. */
  readonly point: number
  readonly bytes: Uint8Array
}

/** Shares of `secret`, one for each of `points`, of which any `threshold` give it back. */
export function splitSecret(
  secret: Uint8Array,
  points: readonly number[],
  threshold: number,
  randomBytes: RandomBytes,
): Share[] {
  assertPoints(points)
  assert(threshold >= 1 && threshold <= points.length, 'a threshold is 1 to the number of shares')
  const coefficients = [secret]
  for (let degree = 1; degree < threshold; degree++) {
    const random = randomBytes(secret.length)
    assert(random.length === secret.length, 'as many random bytes as asked for')
    coefficients.push(random)
  }
  return points.map((point) => ({ point, bytes: evaluate(coefficients, point, secret.length) }))
}

/**
 * The secret that `shares` were made of, if they are at least its threshold, belong together and are right; otherwise
 * some other bytes: the caller checks.
 */
export function joinShares(shares: readonly Share[]): Uint8Array {
  assertPoints(shares.map((share) => share.point))
  const length = shares[0]?.bytes.length ?? 0
  assert(
    shares.every((share) => share.bytes.length === length),
    'shares of one secret are alike in length',
  )
  const secret = new Uint8Array(length)
  for (const share of shares) {
    // Lagrange at 0: subtraction is exclusive or, so each factor is other / (other xor own).
    let weight = 1
    for (const { point } of shares) {
      if (point !== share.point) weight = multiply(weight, multiply(point, invert(point ^ share.point)))
    }
    for (const [index, byte] of share.bytes.entries())
      secret[index] = at(secret, index) ^ multiply(weight, byte)
  }
  return secret
}

/** Horner's rule, for all bytes at once. */
function evaluate(coefficients: readonly Uint8Array[], point: number, length: number): Uint8Array {
  const value = new Uint8Array(length)
  for (const coefficient of coefficients.toReversed()) {
    for (let index = 0; index < length; index++) {
      value[index] = multiply(at(value, index), point) ^ at(coefficient, index)
    }
  }
  return value
}

function at(bytes: Uint8Array, index: number): number {
  return bytes[index] ?? 0
}

function assertPoints(points: readonly number[]): void {
  assert(
    points.length > 0 && points.every((point) => Number.isInteger(point) && point >= 1 && point <= 255),
    'points are 1 to 255: at 0 lies the secret itself',
  )
  assert(new Set(points).size === points.length, 'points differ')
}
