/** `Upgrade: cloudfs-nbd` on `/nbd?VOLUME`: the connection becomes an NBD client's of the volume's primary. */
import { descriptorOf } from '../follow/surrender-socket.js'
import type { TicketGate } from '../follow/ticket-gate.js'
import { UPGRADE_NBD } from '../http-protocols.js'
import { type UpgradeRoute, volumeOfQuery } from '../http-server.js'
import type { StoreService } from '../store-service.js'
import { findPrimary } from '../volume-lookup.js'

export function nbdRoute(stores: readonly StoreService[], gate: TicketGate): UpgradeRoute {
  return {
    protocol: UPGRADE_NBD,
    async take(request, query, socket, early, preface) {
      const volume = volumeOfQuery(query)
      const found = await findPrimary(stores, volume)
      await gate.check(request, found, UPGRADE_NBD)
      await found.store.handle.adoptNbd({ fd: descriptorOf(socket), volume, preface, early })
    },
  }
}
