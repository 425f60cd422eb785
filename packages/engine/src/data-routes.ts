/** What the engine answers on its HTTP port from the stores it has: heads, lsns, and whether it is well. */
import {
  type StoreStatus,
  StoreNotReadyError,
  UnknownVolumeError,
  VolumeId,
  type VolumeStatus,
} from '@cloudfs/interface'
import type { HttpReply } from './http-error.js'
import type { GetRoute } from './http-server.js'
import type { StoreService } from './store-service.js'

export interface DataRoutesOptions {
  readonly stores: readonly StoreService[]
  readonly status: () => readonly StoreStatus[]
}

export function dataRoutes(options: DataRoutesOptions): ReadonlyMap<string, GetRoute> {
  return new Map<string, GetRoute>([
    ['/healthz', () => Promise.resolve(health(options.status()))],
    ['/heads', () => heads(options.stores)],
    ['/lsn', (query) => lsn(options, query)],
  ])
}

/** The volume a query begins with. @throws {MalformedIdError} */
function volumeOfQuery(query: string): VolumeId {
  return VolumeId.parse(query.split('&', 1)[0] ?? '')
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
  const lines = (await volumesOf(stores)).map(({ volume, version }) => `${volume}:${version}\n`)
  return { status: 200, type: 'text/plain', body: lines.sort().join('') }
}

async function lsn({ stores, status }: DataRoutesOptions, query: string): Promise<HttpReply> {
  const id = volumeOfQuery(query)
  const found = (await volumesOf(stores)).find(({ volume }) => volume === id)
  if (found !== undefined) return { status: 200, type: 'text/plain', body: `${found.lsn}\n` }
  if (status().some(({ state }) => state !== 'ready')) {
    throw new StoreNotReadyError(`volume ${id} is not in the stores that are ready`)
  }
  throw new UnknownVolumeError(`no volume ${id} is here`)
}

/** Of all stores that are ready. */
async function volumesOf(stores: readonly StoreService[]): Promise<VolumeStatus[]> {
  const ready = stores.filter(({ status }) => status.state === 'ready')
  const lists = await Promise.all(ready.map((store) => store.command('volumes', {})))
  return lists.flatMap(({ result }) => result)
}
