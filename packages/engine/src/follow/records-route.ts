/** `Upgrade: cloudfs-records` on `/stream?VOLUME&LSN`: a follower's connection goes to the store that leads the volume. */
import { UPGRADE_RECORDS } from '../http-protocols.js'
import { type UpgradeRoute, volumeOfQuery } from '../http-server.js'
import type { StoreService } from '../store-service.js'
import { findLeader, findVolume } from '../volume-lookup.js'
import type { ExpectedLeads } from './expected-leads.js'
import { descriptorOf } from './surrender-socket.js'
import type { TicketGate } from './ticket-gate.js'

export function recordsRoute(
  stores: readonly StoreService[],
  gate: TicketGate,
  expected: ExpectedLeads,
): UpgradeRoute {
  return {
    protocol: UPGRADE_RECORDS,
    async take(request, query, socket, early, preface) {
      // What the follower holds it says itself in its hello; the LSN is for people who read logs.
      const volume = volumeOfQuery(query)
      const next = expected.of(volume)
      if (next === undefined) {
        const found = await findLeader(stores, volume)
        const host = await gate.check(request, found, UPGRADE_RECORDS)
        await found.store.adopt({ fd: descriptorOf(socket), role: 'leader', volume, host, preface, early })
        return
      }
      const { stamp, epoch } = next
      const host = await gate.checkExpected(request, { volume, protocol: UPGRADE_RECORDS, stamp })
      const { store } = await findVolume(stores, volume)
      await store.park({ fd: descriptorOf(socket), role: 'leader', volume, host, preface, expected: epoch })
    },
  }
}
