/**
 * The parts of a node that deal with volumes, put together, and what makes each of them act: an engine that comes up, an
 * event of it, a host that comes up or has moved.
 */
import {
  type EngineEvent,
  type HostId,
  isCloudfsError,
  type StoreId,
  type StoreStatus,
  type VersionId,
  type VolumeId,
} from '@cloudfs/interface'
import type { HostKey, PeerMember, PeerNode } from '@cloudfs/peers'
import type { HostCandidate } from '@cloudfs/placement'
import type { Logger } from 'pino'
import { Attachments } from './attachments.js'
import { BlockRedirects } from './block-redirects.js'
import { Catalogue } from './catalogue.js'
import { Creation, creationEffects } from './creation.js'
import type { EngineSupervisor } from './engine-supervisor.js'
import { appearance, Following } from './following.js'
import { HolderTable } from './holder-table.js'
import { Leading } from './leading.js'
import { Upkeep } from './upkeep.js'
import { VolumeMaker } from './volume-maker.js'
import { Volumes } from './volumes.js'

export interface ReplicationOptions {
  readonly host: HostId
  readonly key: HostKey
  readonly engine: EngineSupervisor
  readonly peers: PeerNode
  readonly runDirectory: string
  /** Where other hosts reach this host's engine. */
  readonly address: () => string
  /** This host and the others, as placement sees them. */
  readonly candidates: () => Promise<HostCandidate[]>
  /** The store of this host. */
  readonly store: () => StoreId
  /** How long a majority may take to take a new volume. */
  readonly commitTimeoutMs: number
  readonly log: Logger
}

export class Replication {
  readonly attachments: Attachments
  readonly blocks: BlockRedirects
  readonly catalogue: Catalogue
  readonly creation: Creation
  readonly volumes: Volumes
  readonly #options: ReplicationOptions
  readonly #holders: HolderTable
  readonly #following: Following
  readonly #upkeep: Upkeep
  /** How each host was reached when it was asked what is attached here. */
  readonly #seen = new Map<HostId, string>()
  /** Hosts that are being asked. */
  readonly #meeting = new Set<HostId>()

  constructor(options: ReplicationOptions) {
    const { host, engine, peers, log, candidates, store, runDirectory, commitTimeoutMs } = options
    this.#options = options
    this.#holders = new HolderTable(engine)
    this.attachments = new Attachments(engine, host, runDirectory)
    this.catalogue = new Catalogue({ ...options, holders: this.#holders })
    this.blocks = new BlockRedirects({ ...options, catalogue: this.catalogue })
    const leading = new Leading(options)
    const giveUp = (volume: VolumeId): void => {
      leading.giveUp(volume)
    }
    const maker = new VolumeMaker({ engine, host, giveUp, commitTimeoutMs })
    this.volumes = new Volumes({
      ...options,
      catalogue: this.catalogue,
      maker,
      leading,
      holders: this.#holders,
      attachments: this.attachments,
    })
    this.creation = new Creation({
      host,
      candidates,
      log,
      member: (at, place) => this.volumes.member(at, place),
      effects: creationEffects({ host, peers, candidates, store, make: (plan) => maker.create(plan) }),
    })
    this.#following = new Following(options)
    const meet = (): void => {
      this.#meetNew()
    }
    this.#upkeep = new Upkeep({ engine, following: this.#following, leading, meet, log })
    this.#listen()
  }

  /** The store has become ready, in an engine that was found or started. */
  async begin(): Promise<void> {
    const { engine, peers } = this.#options
    this.#following.forget()
    for (const { volume } of await engine.result('volumes', {})) peers.provide(volume)
    await this.volumes.restore()
    this.#seen.clear()
    this.#upkeep.soon()
  }

  async close(): Promise<void> {
    await this.#upkeep.close()
  }

  #listen(): void {
    const { engine, peers } = this.#options
    engine.on('event', (event) => {
      this.#onEvent(event)
    })
    peers.on('member-up', ({ hostId }) => {
      this.#seen.delete(hostId)
      this.#upkeep.soon()
    })
    peers.on('member-changed', (member) => {
      if (member.state === 'up' && this.#seen.get(member.hostId) !== appearance(member)) this.#upkeep.soon()
    })
  }

  #onEvent({ event, detail }: EngineEvent): void {
    const { peers, log } = this.#options
    switch (event) {
      case 'store-state':
        if ((detail as StoreStatus).state === 'ready')
          this.#settle(this.begin(), 'volumes are not all served')
        break
      case 'head-moved': {
        const { volume, version } = detail as { volume: VolumeId; version: VersionId }
        this.#settle(this.volumes.moved(volume, version), 'an info file cannot be written')
        break
      }
      case 'volume-created':
        peers.provide((detail as { volume: VolumeId }).volume)
        this.#upkeep.soon()
        break
      case 'volume-deleted':
        this.#holders.forget((detail as { volume: VolumeId }).volume)
        peers.withdraw((detail as { volume: VolumeId }).volume)
        break
      case 'store-failed':
      case 'block-corrupt':
        log.error(detail, event)
        break
      default:
    }
  }

  /** What is attached here of the volumes whose primary another host is, is served by way of it, once it is seen there. */
  #meetNew(): void {
    for (const member of this.#options.peers.members()) {
      const { hostId, state } = member
      if (state !== 'up' || this.#meeting.has(hostId) || this.#seen.get(hostId) === appearance(member))
        continue
      this.#meeting.add(hostId)
      const meeting = this.#meet(member).finally(() => this.#meeting.delete(hostId))
      this.#settle(meeting, 'what is attached by way of a host is served later')
    }
  }

  async #meet(member: PeerMember): Promise<void> {
    await this.volumes.restoreFrom(member.hostId)
    this.#seen.set(member.hostId, appearance(member))
  }

  /** Work that nobody waits for: the world's refusals are tried again as it changes. */
  #settle(work: Promise<void>, what: string): void {
    const { log } = this.#options
    work.catch((error: unknown) => {
      if (isCloudfsError(error)) log.info({ err: error }, what)
      else log.error({ err: error }, what)
    })
  }
}
