import { VersionId, VolumeId } from '@cloudfs/interface'
import { expect, test } from 'vitest'
import { OneHistory } from './one-history.js'

const volume = VolumeId.parse('01'.repeat(20))
const [red, blue] = [VersionId.parse('0a'.repeat(20)), VersionId.parse('0b'.repeat(20))]

test('hosts that are at the same versions agree', () => {
  const history = new OneHistory()
  expect(history.note('host 0', volume, 5, red)).toBeUndefined()
  expect(history.note('host 1', volume, 5, red)).toBeUndefined()
  expect(history.note('host 1', volume, 6, blue)).toBeUndefined()
})

test('two versions of one lsn are found, with the hosts that had them', () => {
  const history = new OneHistory()
  history.note('host 0', volume, 5, red)
  expect(history.note('host 1', volume, 5, blue)).toMatch(/host 1 .* lsn 5 .*host 0/)
})

test('behind what a power cut may take there is room for another history, and before it none', () => {
  const history = new OneHistory()
  history.note('host 0', volume, 5, red)
  history.note('host 0', volume, 6, red)
  history.lose(volume, 5)
  expect(history.note('host 0', volume, 6, blue)).toBeUndefined()
  expect(history.note('host 0', volume, 5, blue)).toBeDefined()
})
