import { expect, test } from 'vitest'
import { rangeOfGet, rangeOfPut } from './byte-range.js'

const SIZE = 1000

test.each([
  [undefined, undefined],
  ['bytes=0-0', [0, 1]],
  ['bytes=0-', [0, 1000]],
  ['bytes=10-19', [10, 10]],
  ['Bytes = 10-19', [10, 10]],
  ['bytes=990-2000', [990, 10]],
  ['bytes=999-', [999, 1]],
  ['bytes=-1', [999, 1]],
  ['bytes=-5000', [0, 1000]],
  // Ignored: another unit, and several ranges.
  ['blocks=0-1', undefined],
  ['bytes=0-1,5-6', undefined],
])('GET with Range %s', (header, expected) => {
  const range = rangeOfGet(header, SIZE)
  expect(range && [range.offset, range.length]).toEqual(expected)
})

test.each([
  'bytes=1000-',
  'bytes=1000-1001',
  'bytes=-0',
  'bytes=5-4',
  'bytes=-',
  'bytes=',
  'bytes=a-b',
  'bytes=1-2-3',
])('GET with Range %s is told the size', (header) => {
  expect(() => rangeOfGet(header, SIZE)).toThrow(
    expect.objectContaining({
      code: 'ERR_RANGE_UNSATISFIABLE',
      details: { headers: { 'Content-Range': 'bytes */1000' } },
    }),
  )
})

const put = (contentRange?: string, range?: string, contentLength?: number): number[] => {
  const { offset, length } = rangeOfPut({ contentRange, range, contentLength }, SIZE)
  return [offset, length]
}

test('PUT goes where either header says, or to the beginning', () => {
  expect(put('bytes 10-19/*')).toEqual([10, 10])
  expect(put('bytes 10-19/1000', undefined, 10)).toEqual([10, 10])
  expect(put(undefined, 'bytes=10-19')).toEqual([10, 10])
  expect(put(undefined, 'bytes=10-', 990)).toEqual([10, 990])
  expect(put(undefined, undefined, 7)).toEqual([0, 7])
  expect(put('bytes 10-19/*', 'bytes=10-19', 10)).toEqual([10, 10])
  expect(put('bytes 10-19/*', 'bytes=10-')).toEqual([10, 10])
})

test.each([
  ['ERR_HTTP_RANGE', 'bytes 10-19/*', 'bytes=10-20', undefined],
  ['ERR_HTTP_RANGE', 'bytes 10-19/*', 'bytes=11-', undefined],
  ['ERR_HTTP_RANGE', 'bytes 10-19/*', undefined, 9],
  ['ERR_HTTP_RANGE', 'bytes 10-19/999', undefined, 10],
  ['ERR_HTTP_RANGE', 'bytes 19-10/*', undefined, undefined],
  ['ERR_HTTP_RANGE', 'bytes */1000', undefined, undefined],
  ['ERR_HTTP_RANGE', '10-19', undefined, undefined],
  ['ERR_HTTP_RANGE', 'bytes 0-9999999999999999/*', undefined, undefined],
  ['ERR_HTTP_RANGE', undefined, 'bytes=-10', 10],
  ['ERR_HTTP_RANGE', undefined, 'bytes=0-1,5-6', 4],
  ['ERR_HTTP_RANGE', undefined, undefined, 0],
  ['ERR_HTTP_LENGTH', undefined, undefined, undefined],
  ['ERR_HTTP_LENGTH', undefined, 'bytes=10-', undefined],
  ['ERR_RANGE_UNSATISFIABLE', 'bytes 999-1000/*', undefined, undefined],
  ['ERR_RANGE_UNSATISFIABLE', undefined, undefined, 1001],
])('PUT is refused with %s: Content-Range %s, Range %s, %s bytes', (code, contentRange, range, bytes) => {
  expect(() => put(contentRange, range, bytes)).toThrow(expect.objectContaining({ code }))
})
