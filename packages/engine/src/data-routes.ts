/** What the engine answers on its HTTP port from the stores it has: heads, lsns, and whether it is well. */
import type { StoreStatus } from '@cloudfs/interface'
import type { HttpReply } from './http-error.js'
import { type GetRoute, volumeOfQuery } from './http-server.js'
import type { StoreService } from './store-service.js'
import { findVolume, volumesOf } from './volume-lookup.js'

export interface DataRoutesOptions {
  readonly stores: readonly StoreService[]
  readonly status: () => readonly StoreStatus[]
}

export function dataRoutes(options: DataRoutesOptions): ReadonlyMap<string, GetRoute> {
  return new Map<string, GetRoute>([
    ['/healthz', () => Promise.resolve(health(options.status()))],
    ['/heads', () => heads(options.stores)],
    ['/lsn', (query) => lsn(options.stores, query)],
  ])
}

/** Well while any store serves; which ones do not, the body says. */
function health(stores: readonly StoreStatus[]): HttpReply {
  const ready = stores.some(({ state }) => state === 'ready')
  return {
    status: ready ? 200 : 503,
    type: 'application/json',
    body: `${JSON.stringify({ status: ready ? 'ok' : 'unavailable', stores })}\n`,
  }
}

async function heads(stores: readonly StoreService[]): Promise<HttpReply> {
  const lines = (await volumesOf(stores)).map(({ status: { volume, version } }) => `${volume}:${version}\n`)
  return { status: 200, type: 'text/plain', body: lines.sort().join('') }
}

async function lsn(stores: readonly StoreService[], query: string): Promise<HttpReply> {
  const { status } = await findVolume(stores, volumeOfQuery(query))
  return { status: 200, type: 'text/plain', body: `${status.lsn}\n` }
}
