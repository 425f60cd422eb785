import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  bytesToHex,
  HostId,
  hexToBytes,
  type IdKind,
  isCloudfsError,
  MalformedIdError,
  SessionId,
  Stamp,
  VolumeId,
} from './index.js'

const kinds = [HostId, SessionId, Stamp] as unknown as IdKind<string>[]

test.each(kinds)('$name: its text form and its bytes name the same id', (kind) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: kind.bytes, maxLength: kind.bytes }), (bytes) => {
      const id = kind.fromBytes(bytes)
      expect(kind.toBytes(id)).toEqual(bytes)
      expect(kind.parse(id.toUpperCase())).toBe(id)
    }),
  )
})

describe('text that is not an id is refused with ERR_MALFORMED_ID', () => {
  test.each([
    '',
    'abc',
    'g'.repeat(40),
    '0'.repeat(39),
    '0'.repeat(41),
    `${'0'.repeat(40)}\n`,
    ` ${'0'.repeat(39)}`,
  ])('%j', (text) => {
    expect(() => VolumeId.parse(text)).toThrow(expect.objectContaining({ code: 'ERR_MALFORMED_ID' }))
  })
})

test('a long wrong id is cut short in its message', () => {
  expect(() => VolumeId.parse('z'.repeat(10_000))).toThrow(/^.{1,150}$/)
})

test('hex reads back what it wrote, and refuses odd lengths', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(hexToBytes(bytesToHex(bytes))).toEqual(bytes)
    }),
  )
  expect(() => hexToBytes('abc')).toThrow(MalformedIdError)
})

test('a coded error keeps its cause and its facts apart', () => {
  const cause = new Error('first')
  const error = new MalformedIdError('no', { cause, text: 'x' })
  expect(error).toMatchObject({
    name: 'MalformedIdError',
    code: 'ERR_MALFORMED_ID',
    cause,
    details: { text: 'x' },
  })
  expect(isCloudfsError(error)).toBe(true)
  expect(isCloudfsError(Object.assign(new Error('ENOENT'), { code: 'ENOENT' }))).toBe(false)
})
