/**
 * What a request of /blocks names: a volume by id or name, a snapshot as `VOLUME@SNAPSHOT`, or a version by its id, if a
 * volume's head or a snapshot is it; among the stores that are ready.
 */
import { decodeView } from '@cloudfs/format'
import {
  AmbiguousNameError,
  hexToBytes,
  type HostId,
  HttpQueryError,
  type Lsn,
  UnknownSnapshotError,
  UnknownVersionError,
  VersionId,
  VolumeId,
} from '@cloudfs/interface'
import type { StoreService } from '../store-service.js'
import { type FoundVolume, findVolume, volumesOf } from '../volume-lookup.js'

interface Snapshot {
  readonly name: string
  readonly version: VersionId
  readonly lsn: Lsn
  readonly sizeBytes: number
}

/** Something to read, and perhaps to write. */
export interface BlockSource {
  readonly store: StoreService
  readonly volume: VolumeId
  /** As the store's exports are named. */
  readonly name: string
  readonly version: VersionId
  readonly sizeBytes: number
  /** It is this version, or it is not to be had: a snapshot, or a head that was asked for by its id. */
  readonly isFixed: boolean
  readonly isSnapshot: boolean
  /** The store is the volume's primary. */
  readonly isPrimary: boolean
  readonly primary: HostId
}

/**
 * @param reference - as in the request, decoded
 * @returns undefined: no store that is ready holds such a volume or version
 * @throws {AmbiguousNameError} several volumes have this name
 * @throws {UnknownSnapshotError} the volume is here, but has no such snapshot
 */
export async function findSource(
  stores: readonly StoreService[],
  reference: string,
): Promise<BlockSource | undefined> {
  // Most requests name an id: then the other volumes need not be listed.
  const id = /^([0-9a-f]{40})(@|$)/.exec(reference)?.[1]
  const named = id === undefined ? [] : await volumesOf(stores, VolumeId.parse(id))
  const volumes = named.length > 0 ? named : await volumesOf(stores)
  const found = byIdOrName(volumes, reference)
  if (found !== undefined) return headOf(found)
  const at = reference.lastIndexOf('@')
  if (at > 0) {
    const parent = byIdOrName(volumes, reference.slice(0, at))
    if (parent === undefined) return undefined
    const name = reference.slice(at + 1)
    const snapshot = snapshotsOf(parent).find((each) => each.name === name)
    if (snapshot !== undefined) return snapshotOf(parent, snapshot)
    throw new UnknownSnapshotError(`volume ${parent.status.volume} has no snapshot ${JSON.stringify(name)}`)
  }
  return VersionId.is(reference) ? byVersion(volumes, VersionId.parse(reference)) : undefined
}

/** The same source as it is now: its head may have moved. @throws as what it was may be no more */
export async function sourceNow(stores: readonly StoreService[], source: BlockSource): Promise<BlockSource> {
  if (source.isFixed) return source
  return headOf(await findVolume(stores, source.volume))
}

/** What a source is called anywhere. */
export function referenceOf({ volume, name, version, isFixed, isSnapshot }: BlockSource): string {
  return isSnapshot ? name : isFixed ? version : volume
}

/** Of a query of `/blocks`. @throws {HttpQueryError} it begins with no name */
export function decodeReference(text: string): string {
  try {
    const reference = decodeURIComponent(text)
    if (reference !== '' && reference.length <= REFERENCE_CHARS_MAX) return reference
  } catch {
    // Malformed escapes.
  }
  throw new HttpQueryError(`no volume: ${JSON.stringify(text.slice(0, 100))}`)
}

/** The longest name, an id, '@' and a snapshot's name are shorter. */
const REFERENCE_CHARS_MAX = 600

/** By id first; where several stores have it, the one that is its primary. */
function byIdOrName(volumes: readonly FoundVolume[], reference: string): FoundVolume | undefined {
  const id = VolumeId.is(reference) ? VolumeId.parse(reference) : undefined
  const byId = volumes.filter(({ status }) => status.volume === id)
  const found = byId.length > 0 ? byId : volumes.filter(({ status }) => status.name === reference)
  const ids = new Set(found.map(({ status }) => status.volume))
  if (ids.size > 1) {
    const list = [...ids].sort()
    throw new AmbiguousNameError(`several volumes are named ${reference}: ${list.join(', ')}`, {
      volumes: list,
    })
  }
  return found.find(({ status }) => status.writable) ?? found[0]
}

function byVersion(volumes: readonly FoundVolume[], version: VersionId): BlockSource | undefined {
  // A replica may be at the version too: its primary's word counts where that is here.
  for (const found of [...volumes].sort((a, b) => Number(b.status.writable) - Number(a.status.writable))) {
    const snapshot = snapshotsOf(found).find((each) => each.version === version)
    if (snapshot !== undefined) return snapshotOf(found, snapshot)
    if (found.status.version === version) return { ...headOf(found), isFixed: true }
  }
  return undefined
}

function headOf({ store, status }: FoundVolume): BlockSource {
  const { volume, version, sizeBytes, writable } = status
  return {
    store,
    volume,
    name: volume,
    version,
    sizeBytes,
    isFixed: false,
    isSnapshot: false,
    isPrimary: writable,
    primary: primaryOf(status),
  }
}

function snapshotOf(found: FoundVolume, { name, version, sizeBytes }: Snapshot): BlockSource {
  const source = headOf(found)
  return { ...source, name: `${source.volume}@${name}`, version, sizeBytes, isFixed: true, isSnapshot: true }
}

function primaryOf({ view }: FoundVolume['status']): HostId {
  return decodeView(hexToBytes(String(view))).primary
}

function snapshotsOf({ status }: FoundVolume): readonly Snapshot[] {
  return status.snapshots as readonly Snapshot[]
}

/** What was asked for by its version is at another one by now. */
export function gone(version: VersionId): UnknownVersionError {
  return new UnknownVersionError(
    `${version} is no volume's head any more: make a snapshot of what is to stay`,
  )
}
