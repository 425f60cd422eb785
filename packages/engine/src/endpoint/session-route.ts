/** `Upgrade: cloudfs-session` on `/session?VOLUME`: an endpoint elsewhere asks the volume's primary over this connection. */
import type { IncomingMessage } from 'node:http'
import { HttpMalformedError } from '@cloudfs/interface'
import { descriptorOf } from '../follow/surrender-socket.js'
import type { ExpectedLeads } from '../follow/expected-leads.js'
import type { TicketGate } from '../follow/ticket-gate.js'
import { SESSION_HEADER, UPGRADE_SESSION } from '../http-protocols.js'
import { type UpgradeRoute, volumeOfQuery } from '../http-server.js'
import type { StoreService } from '../store-service.js'
import { findPrimary, findVolume } from '../volume-lookup.js'

export function sessionRoute(
  stores: readonly StoreService[],
  gate: TicketGate,
  expected: ExpectedLeads,
): UpgradeRoute {
  return {
    protocol: UPGRADE_SESSION,
    // Its client says nothing before it is greeted: there are no early bytes.
    async take(request, query, socket, _early, preface) {
      const volume = volumeOfQuery(query)
      const session = sessionOf(request)
      const next = expected.of(volume)
      if (next === undefined) {
        const found = await findPrimary(stores, volume)
        await gate.check(request, found, UPGRADE_SESSION)
        await found.store.handle.adoptSession({ fd: descriptorOf(socket), volume, session, preface })
        return
      }
      const { stamp, epoch } = next
      await gate.checkExpected(request, { volume, protocol: UPGRADE_SESSION, stamp })
      const { store } = await findVolume(stores, volume)
      await store.parkSession({ fd: descriptorOf(socket), volume, session, preface, expected: epoch })
    },
  }
}

function sessionOf(request: IncomingMessage): string {
  const session = request.headers[SESSION_HEADER]
  if (typeof session !== 'string' || !/^[0-9a-f]{32}$/.test(session)) {
    throw new HttpMalformedError(`${SESSION_HEADER}: not a session's id, 32 digits of hex`)
  }
  return session
}
