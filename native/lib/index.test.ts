import { expect, test } from 'vitest'
import { crc32c } from './index.js'

test('the addon loads and gives the published check value', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
})
