import fc from 'fast-check'
import { expect, test } from 'vitest'
import { crc32c } from './index.js'

test('a changed bit changes the checksum', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 4096 }),
      fc.nat(),
      fc.integer({ min: 0, max: 7 }),
      (bytes, at, bit) => {
        const before = crc32c(Buffer.from(bytes))
        const index = at % bytes.length
        bytes[index] = bytes[index]! ^ (1 << bit)
        expect(crc32c(Buffer.from(bytes))).not.toBe(before)
      },
    ),
  )
})
