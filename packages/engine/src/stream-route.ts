/**
 * `GET /stream?VOLUME|VERSION[&LSN][&until=head]`: committed runs with their bodies, byte for byte as they stand in the
 * log, one behind the other. `cloudfs apply` takes them; so does any program that reads docs/disk-format.md, Run.
 */
import type { ServerResponse } from 'node:http'
import {
  HttpMethodError,
  HttpQueryError,
  type Lsn,
  TooManyStreamsError,
  UnknownVersionError,
  UnknownVolumeError,
  VersionId,
  type VolumeId,
} from '@cloudfs/interface'
import { drained } from './drained.js'
import type { RawRoute } from './http-server.js'
import type { StoreService } from './store-service.js'
import { findVolume, volumesOf } from './volume-lookup.js'

/** Read at once; a little more if a run is longer. */
const CHUNK_BYTES = 1024 * 1024
/** At once, of one engine: each holds a chunk or two. */
const STREAMS_MAX = 64

/** Where a stream begins: behind `afterLsn`. */
interface Start {
  readonly store: StoreService
  readonly volume: VolumeId
  readonly afterLsn: number
  readonly untilHead: boolean
}

export function streamRoute(stores: readonly StoreService[]): RawRoute {
  let open = 0
  return async (request, query, response) => {
    if (request.method !== 'GET')
      throw new HttpMethodError('/stream takes GET', { headers: { Allow: 'GET' } })
    if (open >= STREAMS_MAX) throw new TooManyStreamsError(`${STREAMS_MAX} streams are open already`)
    open++
    const closed = new AbortController()
    response.once('close', () => {
      closed.abort()
    })
    try {
      await send(await startOf(stores, query), response, closed.signal)
      return undefined
    } finally {
      open--
    }
  }
}

async function startOf(stores: readonly StoreService[], query: string): Promise<Start> {
  const [id = '', ...rest] = query.split('&')
  const start = VersionId.parse(id)
  let lsn: number | undefined
  let untilHead = false
  for (const part of rest) {
    if (part === 'until=head') untilHead = true
    else if (/^(-1|\d{1,15})$/.test(part) && lsn === undefined) lsn = Number(part)
    else throw new HttpQueryError(`not VOLUME|VERSION[&LSN][&until=head]: ${JSON.stringify(query)}`)
  }
  const begin = await versionOf(stores, start, lsn)
  return { ...begin, untilHead }
}

/** A volume's id is a version too: its first. As a volume it stands for all of the history, creation included. */
async function versionOf(
  stores: readonly StoreService[],
  start: VersionId,
  lsn: number | undefined,
): Promise<Omit<Start, 'untilHead'>> {
  const volume = start as string as VolumeId
  try {
    return { store: (await findVolume(stores, volume)).store, volume, afterLsn: lsn ?? -1 }
  } catch (error) {
    if (!(error instanceof UnknownVolumeError)) throw error
  }
  for (const { store, status } of await volumesOf(stores)) {
    const snapshots = status.snapshots as readonly { version: VersionId; lsn: Lsn }[]
    const version = [{ version: status.version, lsn: status.lsn }, ...snapshots].find(
      (each) => each.version === start,
    )
    if (version === undefined) continue
    if (lsn !== undefined) throw new HttpQueryError('a version says where to begin: no LSN goes with it')
    return { store, volume: status.volume, afterLsn: version.lsn }
  }
  throw new UnknownVersionError(
    `${start} is no volume here, and neither head nor snapshot of one: ask for VOLUME&LSN, with the last LSN you have`,
  )
}

async function send(
  { store, volume, afterLsn, untilHead }: Start,
  response: ServerResponse,
  closed: AbortSignal,
): Promise<void> {
  const head = await headOf(store, volume)
  let next = afterLsn + 1
  let isBegun = false
  const isClosed = (): boolean => closed.aborted
  while (!isClosed()) {
    // Listened for before it is read: a head that moves in between is not missed.
    const waited = new AbortController()
    const moved = store.heads.next(volume, AbortSignal.any([closed, waited.signal]))
    try {
      const { result, payload } = await store.command('records', { volume, lsn: next, bytesMax: CHUNK_BYTES })
      if (isClosed()) return
      if (!isBegun) begin(response, volume)
      isBegun = true
      next = Math.max(next, result.nextLsn)
      if (payload.length > 0) {
        if (!response.write(payload)) await drained(response, closed)
      } else if (!untilHead) {
        await moved
      }
      if (untilHead && (next > head || payload.length === 0)) {
        response.end()
        return
      }
    } finally {
      waited.abort()
    }
  }
}

function begin(response: ServerResponse, volume: VolumeId): void {
  response.writeHead(200, {
    'Content-Type': 'application/octet-stream',
    'Cache-Control': 'no-store',
    'X-CloudFS-Volume': volume,
  })
  response.flushHeaders()
}

async function headOf(store: StoreService, volume: VolumeId): Promise<Lsn> {
  const { result } = await store.command('volumes', { all: true, volume })
  const [status] = result
  if (status === undefined) throw new UnknownVolumeError(`no volume ${volume} is here`)
  return status.lsn
}
