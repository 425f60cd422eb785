/**
 * Has this host's engine follow the volumes of which it holds, or is to hold, a replica and of which another host is the
 * primary. The engine remembers what it is told and reconnects by itself; here it learns of new volumes, of other primaries
 * and of those that are reached elsewhere, and of volumes that were deleted while this host was away.
 */
import {
  compareEpochs,
  type Epoch,
  HostId,
  isCloudfsError,
  VolumeId,
  type VolumeStatus,
} from '@cloudfs/interface'
import type { PeerMember, PeerNode } from '@cloudfs/peers'
import type { Logger } from 'pino'
import type { EngineSupervisor } from './engine-supervisor.js'
import { viewOf } from './held-volumes.js'
import { askDeleted, askFollow, askFollowKey, type Way } from './peer-requests.js'

/** A volume that is deleted here is followed this much longer: its primary may want to hear that this is synced. */
const DELETED_GRACE_MS = 2_000
/** A host that has won is asked for a key for so long; it calls again. */
const ELECTED_TIMEOUT_MS = 500
/** Volumes asked about at once. */
const DELETED_BATCH = 1_000

/** Who answers so will never stream a volume of which nothing is here. */
const refusals = new Set(['ERR_UNKNOWN_VOLUME', 'ERR_NOT_PRIMARY', 'ERR_NOT_MEMBER'])

interface FollowingOptions {
  readonly host: HostId
  readonly engine: EngineSupervisor
  readonly peers: PeerNode
  /** Another host leads in a later epoch than this one does. */
  readonly onPassed: (volume: VolumeId, epoch: Epoch) => void
  readonly log: Logger
}

interface Follow {
  readonly volume: VolumeId
  readonly leader: HostId
  /** Of the leader, when the engine was told its address: it is asked anew when this changes. */
  readonly seen: string
}

type Follows = ReadonlyMap<
  string,
  { readonly leader: string; readonly state: string; readonly code?: string }
>

export class Following {
  readonly #options: FollowingOptions
  readonly #told = new Map<VolumeId, Follow>()
  /** When a volume was first found deleted here. */
  readonly #deletedAtMs = new Map<VolumeId, number>()

  constructor(options: FollowingOptions) {
    this.#options = options
    // Whoever is no primary of the volume has nothing to stream: the engine finds out, and takes no record but a member's.
    options.peers.handle(askFollow, async ({ volume: id, epoch }, caller) => {
      const volume = VolumeId.parse(id)
      const [status] = await options.engine.result('volumes', { all: true, volume })
      if (status !== undefined && compareEpochs(status.promised, epoch) > 0) {
        return { promised: status.promised }
      }
      if (status === undefined || status.role === 'follower') await this.#follow(volume, caller)
      else options.onPassed(volume, epoch)
      return {}
    })
  }

  /** A host was elected to lead. @param way - left out: it is asked for it @throws what asking it fails with, soon */
  followElected(volume: VolumeId, leader: HostId, way?: Way): Promise<void> {
    return this.#follow(volume, leader, { timeoutMs: ELECTED_TIMEOUT_MS, way })
  }

  /** An engine that was started or found knows by itself what it follows; what was told to another may be old. */
  forget(): void {
    this.#told.clear()
  }

  /** Makes what the engine follows fit `volumes`, which are all that the store has. */
  async mend(volumes: readonly VolumeStatus[]): Promise<void> {
    const { host, engine } = this.#options
    const follows: Follows = new Map(
      (await engine.result('follows', {})).map(({ volume, leader, state, error }) => [
        volume,
        { leader, state, ...(error !== undefined && { code: error.code }) },
      ]),
    )
    /** Volumes that may have been deleted, by whom that is asked. */
    const doubtful = new Map<HostId, VolumeId[]>()
    const wanted = new Map<VolumeId, HostId>()
    for (const status of volumes) {
      const { volume, role } = status
      const follow = follows.get(volume)
      const leader = leaderOf(status, host)
      if (status.left) {
        // It joins again, or is nothing to this host any more.
        if (follow !== undefined) wanted.set(volume, HostId.parse(follow.leader))
      } else if (status.deletionCommitted || role === 'primary') {
        if (follow !== undefined && (role === 'primary' || this.#isLongDeleted(volume))) {
          await this.#unfollow(volume)
        }
      } else if (role === 'follower') {
        if (leader !== undefined) wanted.set(volume, leader)
        // Not followed at all: what was to be dropped, perhaps, and could not be just then.
        if (follow?.state === 'connected') continue
        for (const member of viewOf(status).members) {
          if (member.host !== host) doubtful.set(member.host, [...(doubtful.get(member.host) ?? []), volume])
        }
      }
    }
    for (const [id, { leader, state, code }] of follows) {
      const volume = VolumeId.parse(id)
      if (volumes.some((each) => each.volume === volume)) continue
      // Nothing of it is here yet. A creation that was given up has no primary that knows it.
      if (state === 'refused' && code !== undefined && refusals.has(code)) await this.#unfollow(volume)
      else wanted.set(volume, HostId.parse(leader))
    }
    const gone = new Set<VolumeId>()
    await Promise.all([...doubtful].map(([member, asked]) => this.#dropDeleted(member, asked, gone)))
    for (const volume of gone) wanted.delete(volume)
    await this.#followAll(wanted, follows)
  }

  async #followAll(wanted: ReadonlyMap<VolumeId, HostId>, follows: Follows): Promise<void> {
    const leaders = new Set(wanted.values())
    await Promise.all(
      [...leaders].map(async (leader) => {
        const member = this.#options.peers.member(leader)
        if (member?.state !== 'up') return
        for (const [volume, primary] of wanted) {
          if (primary !== leader) continue
          const follow = follows.get(volume)
          const told = this.#told.get(volume)
          const isCurrent = told?.leader === leader && told.seen === appearance(member)
          if (isCurrent && follow?.leader === leader && follow.state !== 'refused') continue
          try {
            await this.#follow(volume, leader)
          } catch (error) {
            this.#note(error, volume, 'not followed yet')
          }
        }
      }),
    )
  }

  async #follow(
    volume: VolumeId,
    leader: HostId,
    { timeoutMs, way }: { timeoutMs?: number; way?: Way | undefined } = {},
  ): Promise<void> {
    const { engine, peers, log } = this.#options
    const member = peers.member(leader)
    const options = timeoutMs === undefined ? {} : { timeoutMs }
    const { key, address, nonce } = way ?? (await peers.request(leader, askFollowKey, { volume }, options))
    await engine.call('follow', { volume, leader, address, key, nonce })
    if (member !== undefined) this.#told.set(volume, { volume, leader, seen: appearance(member) })
    log.info({ volume, leader, address }, 'follows')
  }

  async #unfollow(volume: VolumeId): Promise<void> {
    const { engine, peers, log } = this.#options
    await engine.call('unfollow', { volume })
    this.#told.delete(volume)
    peers.withdraw(volume)
    log.info({ volume }, 'follows no longer')
  }

  /** Drops those that another member knows to be deleted. @param gone - those that were dropped */
  async #dropDeleted(member: HostId, volumes: readonly VolumeId[], gone: Set<VolumeId>): Promise<void> {
    const { engine, peers, log } = this.#options
    if (peers.member(member)?.state !== 'up') return
    for (let at = 0; at < volumes.length; at += DELETED_BATCH) {
      try {
        const asked = volumes.slice(at, at + DELETED_BATCH)
        const { deleted } = await peers.request(member, askDeleted, { volumes: asked })
        for (const id of deleted) {
          const volume = VolumeId.parse(id)
          if (!asked.includes(volume) || gone.has(volume)) continue
          gone.add(volume)
          await this.#unfollow(volume)
          await engine.call('drop', { volume })
          log.info({ volume, member }, 'dropped a replica: its volume was deleted')
        }
      } catch (error) {
        this.#note(error, member, 'deleted volumes are not known yet')
      }
    }
  }

  #isLongDeleted(volume: VolumeId): boolean {
    const now = performance.now()
    const since = this.#deletedAtMs.get(volume) ?? now
    this.#deletedAtMs.set(volume, since)
    if (now - since < DELETED_GRACE_MS) return false
    this.#deletedAtMs.delete(volume)
    return true
  }

  /** The world's refusals are tried again at the next mending. */
  #note(error: unknown, what: string, message: string): void {
    if (!isCloudfsError(error)) throw error
    this.#options.log.info({ err: error, what }, message)
  }
}

/** Whom a follower is to follow: who stood for the epoch promised, and leads or is about to. */
function leaderOf(status: VolumeStatus, host: HostId): HostId | undefined {
  // A promise to itself was in vain: it would lead.
  return [status.promised.host, viewOf(status).primary].find((each) => each !== host)
}

/** What of a host says where its engine is. */
export function appearance({ addresses, info }: Pick<PeerMember, 'addresses' | 'info'>): string {
  return `${String(info.enginePort)} ${addresses.join(' ')}`
}
