import { expect, test } from 'vitest'
import { crc32c, describe } from './index.js'

test('the addon loads and gives the published check value', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
})

test('the engine says what it reads, or with which code it refuses', () => {
  const entry = Buffer.from('0100000002000300000000000400' + '0000', 'hex')
  expect(describe('entry', entry)).toBe('{"segment":1,"slot":2,"birth":"3","crc":4}')
  expect(describe('entry', entry.subarray(1))).toBe('ERR_ENTRY_CORRUPT')
  expect(describe('run', new Uint8Array(128))).toBe('ERR_RECORD_CORRUPT')
  expect(() => describe('nothing' as 'run', entry)).toThrow(TypeError)
  expect(() => describe('run', 'text' as unknown as Uint8Array)).toThrow(TypeError)
})
