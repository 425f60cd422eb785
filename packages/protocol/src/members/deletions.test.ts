import { VolumeId } from '@cloudfs/interface'
import { expect, test } from 'vitest'
import { deletedOf } from './deletions.js'

const volumes = [1, 2, 3, 4].map((byte) => VolumeId.fromBytes(new Uint8Array(VolumeId.bytes).fill(byte)))
const [kept, deleted, left, unasked] = volumes as [VolumeId, VolumeId, VolumeId, VolumeId]

test('what was deleted is, and what a host that left the set has dropped is not', () => {
  const held = [
    { volume: kept, deletionCommitted: false, left: false },
    { volume: deleted, deletionCommitted: true, left: false },
    { volume: left, deletionCommitted: true, left: true },
    { volume: unasked, deletionCommitted: true, left: false },
  ]
  expect(deletedOf(held, [kept, deleted, left])).toEqual([deleted])
})
