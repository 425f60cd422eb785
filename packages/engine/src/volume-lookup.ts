/** Finds the store that has a volume, among those of this engine. */
import {
  NotPrimaryError,
  StoreNotReadyError,
  UnknownVolumeError,
  type VolumeId,
  type VolumeStatus,
} from '@cloudfs/interface'
import type { StoreService } from './store-service.js'

export interface FoundVolume {
  readonly store: StoreService
  readonly status: VolumeStatus
}

/**
 * A volume, its creation committed or not, nor its deletion: for that its followers are needed still. Where several stores have it, the one that is its primary.
 *
 * @throws {UnknownVolumeError} no store has it, or it was deleted
 * @throws {StoreNotReadyError} no store that is ready has it, and others are not ready
 */
export async function findVolume(stores: readonly StoreService[], volume: VolumeId): Promise<FoundVolume> {
  const ready = stores.filter(({ status }) => status.state === 'ready')
  const lists = await Promise.all(
    ready.map(async (store) => {
      const { result } = await store.command('volumes', { all: true, volume })
      return result.map((status) => ({ store, status }))
    }),
  )
  const found = lists.flat().filter(({ status }) => !status.deletionCommitted)
  const best = found.find(({ status }) => status.writable) ?? found[0]
  if (best !== undefined) return best
  if (ready.length < stores.length) {
    throw new StoreNotReadyError(`volume ${volume} is not in the stores that are ready`)
  }
  throw new UnknownVolumeError(`no volume ${volume} is here`)
}

/** As `findVolume`, at the volume's primary. @throws {NotPrimaryError} besides */
export async function findPrimary(stores: readonly StoreService[], volume: VolumeId): Promise<FoundVolume> {
  const found = await findVolume(stores, volume)
  if (!found.status.writable) throw notPrimary(found)
  return found
}

/**
 * As `findPrimary`, or at a host that was elected and is about to be the primary: it brings its followers up first.
 *
 * @throws {NotPrimaryError} besides
 */
export async function findLeader(stores: readonly StoreService[], volume: VolumeId): Promise<FoundVolume> {
  const found = await findVolume(stores, volume)
  if (found.status.role !== 'follower') return found
  throw notPrimary(found)
}

/** Whoever was promised last leads, or is about to. */
function notPrimary({ store, status: { volume, promised } }: FoundVolume): NotPrimaryError {
  const hint = promised.host === store.status.host ? '' : `: host ${promised.host} does, or is about to`
  return new NotPrimaryError(`this host does not lead volume ${volume}${hint}`, { primary: promised.host })
}

/**
 * All volumes of the stores that are ready, or this one wherever it is; those left out that are deleted or not quite
 * created.
 */
export async function volumesOf(stores: readonly StoreService[], volume?: VolumeId): Promise<FoundVolume[]> {
  const ready = stores.filter(({ status }) => status.state === 'ready')
  const lists = await Promise.all(
    ready.map(async (store) => {
      const { result } = await store.command('volumes', volume === undefined ? {} : { volume })
      return result.map((status) => ({ store, status }))
    }),
  )
  return lists.flat()
}
