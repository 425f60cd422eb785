import { VersionId } from '@cloudfs/interface'
import { expect, test } from 'vitest'
import { etagOf, expectedOfPut, judgeGet } from './conditions.js'

const head = VersionId.parse('ab'.repeat(20))
const old = VersionId.parse('cd'.repeat(20))
const differs: unknown = expect.objectContaining({ code: 'ERR_VERSION_DIFFERS' })
const malformed: unknown = expect.objectContaining({ code: 'ERR_HTTP_CONDITION' })

test('a caller that has the head is told so, any other gets it', () => {
  expect(judgeGet({}, head)).toEqual({ unmodified: false, ignoreRange: false })
  for (const tags of ['*', `"${head}"`, `W/"${head}"`, `"${old}", "${head}"`]) {
    expect(judgeGet({ 'if-none-match': tags }, head).unmodified).toBe(true)
  }
  expect(judgeGet({ 'if-none-match': `"${old}"` }, head).unmodified).toBe(false)
})

test('If-Match compares strongly', () => {
  expect(judgeGet({ 'if-match': `"${head}"` }, head).unmodified).toBe(false)
  expect(judgeGet({ 'if-match': '*' }, head).unmodified).toBe(false)
  for (const tags of [`"${old}"`, `W/"${head}"`]) {
    expect(() => judgeGet({ 'if-match': tags }, head)).toThrow(differs)
    expect(() => expectedOfPut({ 'if-match': tags }, head)).toThrow(differs)
  }
})

test('a part is given only of the version that If-Range names', () => {
  expect(judgeGet({ 'if-range': etagOf(head) }, head).ignoreRange).toBe(false)
  for (const tag of [etagOf(old), `W/${etagOf(head)}`, 'Sat, 21 Nov 2026 15:00:00 GMT']) {
    expect(judgeGet({ 'if-range': tag }, head).ignoreRange).toBe(true)
  }
})

test('a PUT expects the one of the versions named that is the head', () => {
  expect(expectedOfPut({}, head)).toBeUndefined()
  expect(expectedOfPut({ 'if-match': '*' }, head)).toBeUndefined()
  expect(expectedOfPut({ 'if-match': `"${old}","${head}"` }, head)).toBe(head)
  expect(() => expectedOfPut({ 'if-none-match': '*' }, head)).toThrow(differs)
  expect(() => expectedOfPut({ 'if-none-match': `"${old}"` }, head)).toThrow(malformed)
})

test.each(['', 'abc', '"a', '"a" "b"', 'w/"a"'])('what is no list of tags is refused: %s', (tags) => {
  expect(() => judgeGet({ 'if-none-match': tags }, head)).toThrow(malformed)
  expect(() => expectedOfPut({ 'if-match': tags }, head)).toThrow(malformed)
})
