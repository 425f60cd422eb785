import { expect, test } from 'vitest'
import { formatBytes, formatLack, parseBytes } from './index.js'

test.each([
  ['0', 0],
  ['4096', 4096],
  ['8G', 8 * 2 ** 30],
  ['512MiB', 512 * 2 ** 20],
  ['1.5t', 1.5 * 2 ** 40],
  ['1 kb', 1024],
])('parseBytes reads %s', (text, bytes) => {
  expect(parseBytes(text)).toBe(bytes)
})

test.each(['', 'G', '8X', '-1', '0.3', '8GG', '1e9', '9007199254740993', '99999E', '0x10'])(
  'parseBytes refuses %j',
  (text) => {
    expect(() => parseBytes(text)).toThrow(expect.objectContaining({ code: 'ERR_MALFORMED_QUANTITY' }))
  },
)

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '0.977 KiB'],
  [8 * 2 ** 30, '8.00 GiB'],
  [99.96 * 1024, '100 KiB'],
  [2n ** 62n, '4.00 EiB'],
])('formatBytes writes %s as %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text)
})

test.each([
  [undefined, undefined, '3.00 MiB'],
  [0, undefined, '3.00 MiB, 0 B/s'],
  [2 ** 20, 3, '3.00 MiB, 1.00 MiB/s, about 3 s yet'],
  [1024, 89, '3.00 MiB, 1.00 KiB/s, about 89 s yet'],
  [1024, 3_000, '3.00 MiB, 1.00 KiB/s, about 50 min yet'],
  [100, 30_000, '3.00 MiB, 100 B/s, about 8 h yet'],
  [1, 3 * 2 ** 20, '3.00 MiB, 1 B/s, about 36 days yet'],
])(
  'what lacks 3 MiB at %j bytes a second, %j s from its end, reads %s',
  (bytesPerSecond, etaSeconds, text) => {
    expect(formatLack({ behindBytes: 3 * 2 ** 20, bytesPerSecond, etaSeconds })).toBe(text)
  },
)
