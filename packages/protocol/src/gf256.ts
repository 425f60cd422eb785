/**
 * The field GF(2^8) with the polynomial x^8 + x^4 + x^3 + x + 1 (that of AES): what Shamir's scheme computes in.
 *
 * No tables and no branches on values: a share is secret, and a table look-up tells its index to whoever shares the cache.
 */

/** Product of two bytes. Addition, and subtraction, is exclusive or. */
export function multiply(a: number, b: number): number {
  let product = 0
  let term = a
  for (let bit = 0; bit < 8; bit++) {
    product ^= term & -((b >> bit) & 1)
    term = ((term << 1) ^ (0x11b & -(term >> 7))) & 0x1ff
  }
  return product & 0xff
}

/** The byte whose product with `a` is 1; 0 for 0, which has none. */
export function invert(a: number): number {
  // a^254, since a^255 = 1 for all but 0.
  let power = a
  let result = 1
  for (let bit = 0; bit < 7; bit++) {
    power = multiply(power, power)
    result = multiply(result, power)
  }
  return result
}
