import { HostId, VolumeId } from '@cloudfs/interface'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import type { StoreService } from '../store-service.js'
import { FollowManager } from './follow-manager.js'

test('nothing is followed any more once the engine stops: it would never end', async () => {
  const follows = new FollowManager({
    path: '/nowhere/follows.json',
    stores: [],
    log: pino({ level: 'silent' }),
  })
  await follows.close()
  const wanted = {
    volume: VolumeId.parse('1'.repeat(40)),
    leader: HostId.parse('2'.repeat(40)),
    address: '127.0.0.1:1',
    key: '3'.repeat(64),
  }
  // Refused before the store is looked at.
  const store: Partial<StoreService> = {}
  expect(() => {
    follows.follow(store as StoreService, wanted)
  }).toThrow('the engine stops')
  expect(follows.status).toEqual([])
})
