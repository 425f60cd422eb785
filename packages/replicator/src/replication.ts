/**
 * The parts of a node that deal with volumes, put together, and what makes each of them act: an engine that comes up, an
 * event of it, a host that comes up or has moved.
 */
import {
  type CoreEvent,
  type EngineEvent,
  type Epoch,
  type HostId,
  isCloudfsError,
  type StoreId,
  type StoreStatus,
  type VersionId,
  VolumeId,
} from '@cloudfs/interface'
import type { HostKey, PeerMember, PeerNode } from '@cloudfs/peers'
import type { HostCandidate } from '@cloudfs/placement'
import type { Logger } from 'pino'
import { Acting } from './acting.js'
import { Attachments } from './attachments.js'
import { BlockRedirects } from './block-redirects.js'
import { CatchUp } from './catch-up.js'
import { Catalogue } from './catalogue.js'
import { Creation, creationEffects } from './creation.js'
import type { EngineSupervisor } from './engine-supervisor.js'
import { type Draining, Evacuation } from './evacuation.js'
import { appearance, Following } from './following.js'
import { Heir } from './heir.js'
import { Holders } from './holders.js'
import { LeadTeller } from './lead-teller.js'
import { Leading } from './leading.js'
import { Leaving } from './leaving.js'
import { Forcing } from './forcing.js'
import { Membership } from './membership.js'
import { Upkeep } from './upkeep.js'
import { askLead } from './peer-requests.js'
import { Viewing, type ViewCounts } from './viewing.js'
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
  /** A member that has been gone this long is replaced. */
  readonly replaceAfterMs: number
  readonly draining: Draining
  readonly log: Logger
}

export class Replication {
  readonly attachments: Attachments
  readonly blocks: BlockRedirects
  readonly catalogue: Catalogue
  readonly catchUp = new CatchUp()
  readonly creation: Creation
  readonly evacuation: Evacuation
  readonly membership: Membership
  readonly forcing: Forcing
  readonly volumes: Volumes
  readonly #options: ReplicationOptions
  readonly #holders: Holders
  readonly #teller: LeadTeller
  readonly #following: Following
  readonly #upkeep: Upkeep
  readonly #viewing: Viewing
  /** How each host was reached when it was last looked at. */
  readonly #seen = new Map<HostId, string>()

  constructor(options: ReplicationOptions) {
    const { host, engine, peers, log, candidates, store, commitTimeoutMs } = options
    this.#options = options
    this.catalogue = new Catalogue({ ...options, catchUp: this.catchUp })
    this.blocks = new BlockRedirects({ ...options, catalogue: this.catalogue })
    const onPassed = (volume: VolumeId, promised: Epoch): void => {
      this.#viewing.learned(volume, promised)
    }
    const leading = new Leading({ ...options, onPassed })
    const holders = new Holders({ host, engine, wayFor: (volume, to) => leading.wayFor(volume, to) })
    this.#holders = holders
    peers.handle(askLead, ({ volume }, caller) => holders.lead(VolumeId.parse(volume), caller))
    const acting = new Acting({
      host,
      peers,
      catalogue: this.catalogue,
      actHere: (request, caller) => this.volumes.actHere(request, caller),
      isDeletedHere: async (volume) => (await leading.deleted([volume])).length > 0,
    })
    this.attachments = new Attachments({
      ...options,
      act: (volume, request) => acting.act(volume, request),
      leadHere: (volume) => holders.lead(volume, host),
    })
    this.#teller = new LeadTeller({
      ...options,
      holders,
      told: (from, lead) => this.attachments.told(from, lead),
    })
    const giveUp = (volume: VolumeId): void => {
      leading.giveUp(volume)
    }
    const maker = new VolumeMaker({ engine, host, giveUp, commitTimeoutMs })
    this.volumes = new Volumes({
      ...options,
      catalogue: this.catalogue,
      maker,
      acting,
      holders,
      attachments: this.attachments,
      handOver: (volume, to) => this.#viewing.handOver(volume, to),
    })
    const effects = creationEffects({ host, peers, candidates, store, make: (plan) => maker.create(plan) })
    const changed = (): void => {
      this.#upkeep.soon()
    }
    this.evacuation = new Evacuation({
      ...options,
      catalogue: this.catalogue,
      membership: () => this.membership,
      changed,
    })
    const { evacuation } = this
    this.membership = new Membership({
      ...options,
      isLeaving: (each) => evacuation.isLeaving(each),
      changed,
      catalogue: this.catalogue,
      effects,
      changeSet: (volume, change) => this.#viewing.changeSet(volume, change),
      handOver: (volume, to) => this.#viewing.handOver(volume, to),
    })
    this.creation = new Creation({
      host,
      candidates,
      log,
      member: (at, place) => this.volumes.member(at, place),
      effects,
    })
    const following = new Following({ ...options, onPassed })
    this.#following = following
    const heir = new Heir({ ...options, leading, attachments: this.attachments })
    this.#viewing = new Viewing({
      ...options,
      expectLead: (succession) => heir.prepare(succession),
      follow: (volume, leader, way) => following.followElected(volume, leader, way),
      wayToFollow: (volume, member) => leading.wayToFollow(volume, member),
    })
    this.forcing = new Forcing({
      ...options,
      catalogue: this.catalogue,
      force: (volume) => this.#viewing.force(volume),
    })
    const { membership } = this
    const leaving = new Leaving(options)
    this.#upkeep = new Upkeep({
      engine,
      catchUp: this.catchUp,
      following,
      leading,
      leaving,
      membership,
      viewing: this.#viewing,
      attachments: this.attachments,
      teller: this.#teller,
      log,
    })
    this.#listen()
  }

  get viewCounts(): ViewCounts {
    return this.#viewing.counts
  }

  /** The store has become ready, in an engine that was found or started. */
  async begin(): Promise<void> {
    const { engine, peers } = this.#options
    this.#viewing.begin()
    this.#following.forget()
    this.#holders.forgetAll()
    this.#teller.forgetAll()
    const volumes = await engine.result('volumes', {})
    for (const { volume } of volumes) peers.provide(volume)
    this.#upkeep.soon()
    await this.attachments.begin()
    for (const { volume, role } of volumes) if (role === 'primary') await this.#teller.tell(volume)
  }

  async close(): Promise<void> {
    this.attachments.close()
    await this.membership.close()
    await this.#viewing.close()
    await this.#upkeep.close()
  }

  #listen(): void {
    const { engine, peers } = this.#options
    engine.on('event', (event) => {
      this.#onEvent(event)
    })
    peers.on('member-up', (member) => {
      this.#seen.delete(member.hostId)
      this.#teller.forget(member.hostId)
      this.#meet(member)
    })
    peers.on('member-changed', (member) => {
      if (member.state === 'up') this.#meet(member)
    })
  }

  /** A host that is new, or elsewhere: volumes are followed by way of it perhaps, or it has some attached. */
  #meet(member: PeerMember): void {
    const seen = appearance(member)
    if (this.#seen.get(member.hostId) === seen) return
    this.#seen.set(member.hostId, seen)
    this.#upkeep.soon()
  }

  #onEvent(message: EngineEvent): void {
    const { event, detail } = message
    const { peers, log } = this.#options
    this.#viewing.onEvent(message)
    // The engine sends its core's events on as they are.
    this.attachments.onEvent({ name: event, detail } as CoreEvent)
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
      case 'leading':
        this.#upkeep.soon()
        this.#tell(detail)
        break
      case 'attached':
        this.#tell(detail)
        break
      case 'stepped-down':
        this.#holders.forget((detail as { volume: VolumeId }).volume)
        break
      case 'store-failed':
      case 'block-corrupt':
        log.error(detail, event)
        break
      case 'hand-taken':
      case 'hand-refused':
        log.info(detail, event)
        break
      default:
    }
  }

  #tell(detail: object): void {
    const { volume } = detail as { volume: VolumeId }
    this.#settle(this.#teller.tell(volume), 'who has a volume attached is told later')
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
