import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compareEpochs, formatEpoch, HostId, Lsn, LSN_MAX, parseEpoch } from './index.js'

const epochs = fc.record({
  counter: fc.maxSafeNat().map((value) => value % 2 ** 48),
  host: fc.uint8Array({ minLength: 20, maxLength: 20 }).map((bytes) => HostId.fromBytes(bytes)),
})

test('an epoch reads back from its text', () => {
  fc.assert(
    fc.property(epochs, (epoch) => {
      expect(parseEpoch(formatEpoch(epoch))).toEqual(epoch)
    }),
  )
})

test('epochs order by counter, then by the bytes of the host', () => {
  const order = (a: Parameters<typeof compareEpochs>[0], b: typeof a): number =>
    a.counter - b.counter || Buffer.compare(HostId.toBytes(a.host), HostId.toBytes(b.host))
  fc.assert(
    fc.property(epochs, epochs, fc.boolean(), (a, b, sameCounter) => {
      const other = sameCounter ? { ...b, counter: a.counter } : b
      expect(Math.sign(compareEpochs(a, other))).toBe(Math.sign(order(a, other)))
    }),
  )
})

test.each([
  '',
  '7',
  '7.',
  `-1.${HostId.zero}`,
  `07.${HostId.zero}`,
  `281474976710656.${HostId.zero}`,
  `7.${HostId.zero}0`,
])('text that is not an epoch is refused: %j', (text) => {
  expect(() => parseEpoch(text)).toThrow(expect.objectContaining({ code: 'ERR_MALFORMED_ID' }))
})

test('an lsn is a whole number of 48 bits', () => {
  expect(Lsn(LSN_MAX)).toBe(LSN_MAX)
  for (const value of [-1, 0.5, LSN_MAX + 1, Number.NaN]) {
    expect(() => Lsn(value)).toThrow(expect.objectContaining({ code: 'ERR_MALFORMED_ID' }))
  }
})
