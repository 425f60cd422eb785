/** The volumes of the cluster: what each host that answers says of those it holds, put together. */
import type { Answer } from '@cloudfs/http'
import {
  AmbiguousNameError,
  compareEpochs,
  type HostId,
  isCloudfsError,
  UnknownVolumeError,
  type VolumeId,
} from '@cloudfs/interface'
import type { PeerNode } from '@cloudfs/peers'
import type { Logger } from 'pino'
import { type CatchUp, etaSecondsOf } from './catch-up.js'
import type { EngineSupervisor } from './engine-supervisor.js'
import { heldVolume } from './held-volumes.js'
import { askVolumes, type HeldVolume } from './peer-requests.js'

type Volume = Answer<'volume'>
type Replica = Volume['replicas'][number]

/** A host that does not answer in time is left out of the list. */
const LIST_TIMEOUT_MS = 2_000
/** Bytes of volumes in one answer to another host, about: a frame between hosts holds four times as much. */
const PAGE_BYTES_MAX = 256 * 1024
/**
 * A replica on an open stream that lacks no more than this is in step: what is on its way is not trouble. One that lacks
 * more does not keep up.
 */
const LAG_BYTES_MAX = 4 * 1024 ** 2

interface CatalogueOptions {
  readonly host: HostId
  readonly engine: EngineSupervisor
  readonly peers: PeerNode
  readonly catchUp: CatchUp
  readonly log: Logger
}

/** A volume and what each host that holds it says. */
export interface Found {
  readonly volume: Volume
  readonly held: ReadonlyMap<string, HeldVolume>
}

export class Catalogue {
  readonly #options: CatalogueOptions

  constructor(options: CatalogueOptions) {
    this.#options = options
    options.peers.handle(askVolumes, async ({ after }) => pageOf(await this.held(), after))
  }

  /** What this host holds. */
  async held(): Promise<HeldVolume[]> {
    const { engine } = this.#options
    const [volumes, follows] = await Promise.all([engine.result('volumes', {}), engine.result('follows', {})])
    const refusals = new Map(
      follows.map(({ volume, state, error }) => [volume, state === 'refused' ? error : undefined]),
    )
    return volumes.map((status) => {
      const refusal = refusals.get(status.volume)
      return {
        ...heldVolume(status, (volume, store) => this.#options.catchUp.rateOf(volume, store)),
        ...(refusal !== undefined && { refusal }),
      }
    })
  }

  /** All volumes of the hosts that answer, by id. */
  async all(): Promise<Map<string, Found>> {
    const { host, peers, log } = this.#options
    const lists = new Map<string, readonly HeldVolume[]>()
    const ask = async (from: HostId): Promise<void> => {
      try {
        lists.set(from, from === host ? await this.held() : await this.#heldAt(from))
      } catch (error) {
        if (from === host || !isCloudfsError(error)) throw error
        log.info({ host: from, err: error }, 'no list of volumes')
      }
    }
    const up = peers.members().filter(({ state }) => state === 'up')
    await Promise.all([host, ...up.map(({ hostId }) => hostId)].map(ask))
    return merge(lists)
  }

  /**
   * The one volume of this id or name.
   *
   * @throws {UnknownVolumeError} no host that answers holds it
   * @throws {AmbiguousNameError} several have this name
   */
  async find(reference: string): Promise<Found> {
    const all = await this.all()
    const byId = all.get(reference.toLowerCase())
    if (byId !== undefined) return byId
    const named = [...all.values()].filter(({ volume }) => volume.name === reference)
    if (named.length > 1) {
      const ids = named.map(({ volume }) => volume.volume).sort()
      throw new AmbiguousNameError(`several volumes are named ${reference}: ${ids.join(', ')}`, {
        volumes: ids,
      })
    }
    if (named[0] !== undefined) return named[0]
    throw new UnknownVolumeError(`no host that answers has a volume ${reference}`, { volume: reference })
  }

  /** The volume as this host holds it. @throws {UnknownVolumeError} */
  async here(volume: VolumeId): Promise<HeldVolume> {
    const held = (await this.held()).find((each) => each.volume === volume)
    if (held === undefined) throw new UnknownVolumeError(`no volume ${volume} is here`, { volume })
    return held
  }

  async #heldAt(host: HostId): Promise<HeldVolume[]> {
    const list: HeldVolume[] = []
    for (;;) {
      const after = list.at(-1)?.volume
      const message = after === undefined ? {} : { after }
      const page = await this.#options.peers.request(host, askVolumes, message, {
        timeoutMs: LIST_TIMEOUT_MS,
      })
      list.push(...page.volumes)
      if (!page.isMore || page.volumes.length === 0) return list
    }
  }
}

/** The volumes behind `after`, in order of their ids, as many as an answer holds. */
function pageOf(held: readonly HeldVolume[], after = ''): { volumes: HeldVolume[]; isMore: boolean } {
  const rest = held.filter(({ volume }) => volume > after).sort((a, b) => (a.volume < b.volume ? -1 : 1))
  const volumes: HeldVolume[] = []
  let bytes = 0
  for (const each of rest) {
    bytes += JSON.stringify(each).length
    if (bytes > PAGE_BYTES_MAX && volumes.length > 0) break
    volumes.push(each)
  }
  return { volumes, isMore: volumes.length < rest.length }
}

/** The word of who leads in the newest epoch counts; if nobody does, that of the replica furthest on. */
function merge(lists: ReadonlyMap<string, readonly HeldVolume[]>): Map<string, Found> {
  const holders = new Map<string, Map<string, HeldVolume>>()
  for (const [host, list] of lists) {
    for (const held of list) {
      const of = holders.get(held.volume) ?? new Map<string, HeldVolume>()
      holders.set(held.volume, of.set(host, held))
    }
  }
  const merged = new Map<string, Found>()
  for (const [id, held] of holders) {
    const [best] = [...held.values()].sort(byAuthority)
    if (best === undefined) continue
    const { members, progress, refusal: _, role: _role, ...volume } = best
    const replicas = members.map((member) => {
      const told = progress?.find(({ host, store }) => host === member.host && store === member.store)
      const replica =
        told !== undefined && member.host !== volume.primary
          ? replicaAsTold(member, told)
          : replicaAsSeen(member, volume, held.get(member.host), lists)
      const refusal = replica.state === 'in-step' ? undefined : held.get(member.host)?.refusal
      return { ...replica, ...(refusal !== undefined && { refusal }) }
    })
    merged.set(id, { volume: { ...volume, replicas }, held })
  }
  return merged
}

/** One that led in an earlier epoch may not have heard yet that it leads no more. */
function byAuthority(a: HeldVolume, b: HeldVolume): number {
  const led = Number(b.role === 'primary') - Number(a.role === 'primary')
  return compareEpochs(b.epoch, a.epoch) || led || b.lsn - a.lsn
}

/** As the primary's engine, which sends it the updates, sees it. */
function replicaAsTold(
  member: HeldVolume['members'][number],
  told: NonNullable<HeldVolume['progress']>[number],
): Replica {
  const { state, appendedLsn, behindBytes, bytesPerSecond } = told
  const isNear = state === 'behind' && behindBytes !== undefined && behindBytes <= LAG_BYTES_MAX
  return {
    ...member,
    isPrimary: false,
    state: isNear ? 'in-step' : state,
    lsn: appendedLsn,
    ...(behindBytes !== undefined && { behindBytes }),
    ...(!isNear && behindBytes !== undefined && paceOf(behindBytes, bytesPerSecond)),
  }
}

function paceOf(
  behindBytes: number,
  bytesPerSecond: number | undefined,
): Pick<Replica, 'bytesPerSecond' | 'etaSeconds'> {
  const etaSeconds = etaSecondsOf(behindBytes, bytesPerSecond)
  return {
    ...(bytesPerSecond !== undefined && { bytesPerSecond }),
    ...(etaSeconds !== undefined && { etaSeconds }),
  }
}

/** The primary itself, or any member while the primary does not answer. */
function replicaAsSeen(
  member: HeldVolume['members'][number],
  volume: Pick<HeldVolume, 'primary' | 'committedLsn'>,
  held: HeldVolume | undefined,
  lists: ReadonlyMap<string, unknown>,
): Replica {
  const isPrimary = member.host === volume.primary
  if (held === undefined) {
    return { ...member, isPrimary, state: lists.has(member.host) ? 'behind' : 'away' }
  }
  const isInStep = held.lsn >= volume.committedLsn
  return { ...member, isPrimary, state: isInStep ? 'in-step' : 'behind', lsn: held.lsn }
}
