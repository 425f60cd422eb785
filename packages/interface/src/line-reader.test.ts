import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LineReader, LineTooLongError } from './line-reader.js'

test('lines come out whole however the stream is cut', () => {
  const line = fc.stringMatching(/^[a-zé{}"]{1,30}$/)
  fc.assert(
    fc.property(fc.array(line, { maxLength: 20 }), fc.array(fc.nat(7), { minLength: 1 }), (lines, cuts) => {
      const stream = Buffer.from(lines.map((text) => `${text}\n`).join(''))
      const reader = new LineReader(100)
      const got: string[] = []
      for (let at = 0, i = 0; at < stream.length; i++) {
        const next = Math.min(stream.length, at + 1 + cuts[i % cuts.length]!)
        got.push(...reader.push(stream.subarray(at, next)))
        at = next
      }
      expect(got).toEqual(lines)
    }),
  )
})

test('a line of the greatest length passes, one byte more does not, even without its end', () => {
  expect(new LineReader(10).push(Buffer.from('123456789\n'))).toEqual(['123456789'])
  expect(() => new LineReader(10).push(Buffer.from('1234567890\n'))).toThrow(LineTooLongError)
  const reader = new LineReader(10)
  reader.push(Buffer.from('12345'))
  expect(() => reader.push(Buffer.from('678901'))).toThrow(LineTooLongError)
})
