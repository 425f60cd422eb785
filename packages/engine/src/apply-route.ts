/**
 * `Upgrade: cloudfs-apply` on `/apply?VOLUME`: whoever asks speaks as a primary would (docs/wire-protocol.md), and gives a
 * store outside the volume's view a copy of the history. The store checks all of it, as a follower does. Until there is
 * authorisation it is for this machine alone: others' tools go through a shell here.
 */
import { NotLocalError, UnknownStoreError, UnknownVolumeError, type VolumeId } from '@cloudfs/interface'
import { descriptorOf } from './follow/surrender-socket.js'
import { UPGRADE_APPLY } from './http-protocols.js'
import { isLoopback, type UpgradeRoute, volumeOfQuery } from './http-server.js'
import type { StoreService } from './store-service.js'
import { findVolume } from './volume-lookup.js'

export function applyRoute(stores: readonly StoreService[]): UpgradeRoute {
  return {
    protocol: UPGRADE_APPLY,
    async take(_request, query, socket, early, preface) {
      if (!isLoopback(socket.remoteAddress ?? '')) throw new NotLocalError('/apply is for this machine alone')
      const volume = volumeOfQuery(query)
      const store = await storeFor(stores, volume)
      await store.adopt({ fd: descriptorOf(socket), role: 'copy', volume, preface, early })
    },
  }
}

/** The store that has it, else the only one. */
async function storeFor(stores: readonly StoreService[], volume: VolumeId): Promise<StoreService> {
  try {
    return (await findVolume(stores, volume)).store
  } catch (error) {
    if (!(error instanceof UnknownVolumeError)) throw error
  }
  const [only, ...others] = stores
  if (only === undefined || others.length > 0) {
    throw new UnknownStoreError('there are several stores here, and none has the volume yet')
  }
  return only
}
