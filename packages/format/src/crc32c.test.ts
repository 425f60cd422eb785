import fc from 'fast-check'
import { expect, test } from 'vitest'
import { crc32c, crc32cWithout } from './index.js'

test.each([
  ['32 zeros', new Uint8Array(32), 0x8a9136aa],
  ['32 ones', new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ['ascending', Uint8Array.from({ length: 32 }, (_, index) => index), 0x46dd794e],
  ['descending', Uint8Array.from({ length: 32 }, (_, index) => 31 - index), 0x113fdb5c],
  ['the digits', Buffer.from('123456789'), 0xe3069283],
])('RFC 3720 appendix B.4: %s', (_, bytes, crc) => {
  expect(crc32c(bytes)).toBe(crc)
})

test('checksums chain, at every length and alignment', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat({ max: 100 }), (bytes, at) => {
      const cut = Math.min(at, bytes.length)
      expect(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut)))).toBe(crc32c(bytes))
    }),
  )
})

test('a field taken as zero does not count', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4, maxLength: 60 }), fc.nat(), (bytes, at) => {
      const field = at % (bytes.length - 3)
      const zeroed = bytes.slice().fill(0, field, field + 4)
      expect(crc32cWithout(bytes, field)).toBe(crc32c(zeroed))
    }),
  )
})
