/**
 * Looks after the volumes whose primary is here: tells members that do not follow to do so, which also finishes a creation
 * that was cut; gives up creations that find no majority; answers followers' questions.
 */
import {
  type Epoch,
  type HostId,
  isCloudfsError,
  UnknownVolumeError,
  VolumeId,
  type VolumeStatus,
} from '@cloudfs/interface'
import type { PeerNode } from '@cloudfs/peers'
import { deletedOf } from '@cloudfs/protocol'
import type { Logger } from 'pino'
import type { EngineSupervisor } from './engine-supervisor.js'
import { NotMemberError } from './errors.js'
import { viewOf } from './held-volumes.js'
import { askDeleted, askFollow, askFollowKey, type Way } from './peer-requests.js'

/** A creation that no majority has taken after this long is given up: whoever asked for it has been told so. */
const HALF_MADE_MS = 60_000

interface LeadingOptions {
  readonly host: HostId
  readonly engine: EngineSupervisor
  readonly peers: PeerNode
  /** Where other hosts reach this host's engine. */
  readonly address: () => string
  /** A member has promised a later epoch than this host leads in. */
  readonly onPassed: (volume: VolumeId, promised: Epoch) => void
  readonly log: Logger
}

export class Leading {
  readonly #options: LeadingOptions
  /** Since when a volume has been half made, as far as this process knows. */
  readonly #halfMadeMs = new Map<VolumeId, number>()
  /** Members being told, by volume and host: one that hangs is not told again meanwhile. */
  readonly #telling = new Set<string>()

  constructor(options: LeadingOptions) {
    this.#options = options
    const { peers } = options
    peers.handle(askFollowKey, ({ volume }, caller) => this.#keyFor(VolumeId.parse(volume), caller))
    peers.handle(askDeleted, async ({ volumes }) => ({
      deleted: await this.deleted(volumes.map((id) => VolumeId.parse(id))),
    }))
  }

  /** Those of which this host knows that their deletion is committed. */
  async deleted(volumes: readonly VolumeId[]): Promise<VolumeId[]> {
    return deletedOf(await this.#options.engine.result('volumes', { all: true }), volumes)
  }

  /** What a host's endpoint needs to reach a volume here. */
  wayFor(volume: VolumeId, host: HostId): Promise<Way> {
    return this.#wayTo(volume, host, 'cloudfs-session')
  }

  /** What a member's engine needs to follow a volume that this one leads, or was elected to. */
  wayToFollow(volume: VolumeId, member: HostId): Promise<Way> {
    return this.#wayTo(volume, member, 'cloudfs-records')
  }

  /** Tells members that are away; resolves when they are being told. `volumes` are all that the store has. */
  mend(volumes: readonly VolumeStatus[]): void {
    const halfMade = new Set<VolumeId>()
    for (const status of volumes) {
      const { volume, role, deleted, deletionCommitted, established, members = [] } = status
      if (deletionCommitted || role !== 'primary') continue
      // A deletion, too, is committed by a majority.
      for (const { state, host } of members) if (state === 'away') this.#tell(status, host)
      // A creation is its first primary's to give up. Whoever was elected later goes on with what a majority may have.
      if (established || deleted || status.promised.counter > 1) continue
      halfMade.add(volume)
      this.#minderOf(volume)
    }
    for (const volume of this.#halfMadeMs.keys()) if (!halfMade.has(volume)) this.#halfMadeMs.delete(volume)
  }

  #tell({ volume, epoch }: VolumeStatus, member: HostId): void {
    const { peers, log, onPassed } = this.#options
    const telling = `${volume} ${member}`
    if (peers.member(member)?.state !== 'up' || this.#telling.has(telling)) return
    this.#telling.add(telling)
    peers
      .request(member, askFollow, { volume, epoch })
      .then(({ promised }) => {
        if (promised !== undefined) onPassed(volume, promised)
      })
      .catch((error: unknown) => {
        if (!isCloudfsError(error)) throw error
        log.info({ volume, host: member, err: error }, 'a member does not follow yet')
      })
      .finally(() => this.#telling.delete(telling))
      .catch((error: unknown) => {
        log.error({ err: error }, 'a bug')
      })
  }

  #minderOf(volume: VolumeId): void {
    const now = performance.now()
    const since = this.#halfMadeMs.get(volume) ?? now
    this.#halfMadeMs.set(volume, since)
    if (now - since >= HALF_MADE_MS) this.giveUp(volume)
  }

  /** The deletion follows the creation in the volume's history: whichever members have the one get the other. */
  giveUp(volume: VolumeId): void {
    const { engine, log } = this.#options
    log.warn({ volume }, 'a creation found no majority of its hosts: given up')
    this.#halfMadeMs.delete(volume)
    // Answered when a majority has it, which may be never; it counts here from now on.
    engine.call('delete', { volume }).catch((error: unknown) => {
      log.info({ volume, err: error }, 'a creation was not given up')
    })
  }

  async #keyFor(volume: VolumeId, caller: HostId): Promise<Way> {
    const [status] = await this.#options.engine.result('volumes', { all: true, volume })
    if (status === undefined) throw new UnknownVolumeError(`no volume ${volume} is here`, { volume })
    if (!viewOf(status).members.some(({ host }) => host === caller)) {
      throw new NotMemberError(`host ${caller} is not a member of volume ${volume}`, { volume, host: caller })
    }
    return this.wayToFollow(volume, caller)
  }

  async #wayTo(
    volume: VolumeId,
    host: HostId,
    protocol: 'cloudfs-records' | 'cloudfs-session',
  ): Promise<Way> {
    const { engine, address } = this.#options
    const { key, nonce } = await engine.result('follow-key', { volume, host, protocol })
    return { key, nonce, address: address() }
  }
}
