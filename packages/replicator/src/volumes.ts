/**
 * What can be done with the volumes of the cluster. Any node takes any request; what only a volume's primary can do is sent
 * on to it.
 */
import type { Answer, Body } from '@cloudfs/http'
import { setTimeout as delay } from 'node:timers/promises'
import {
  bytesToHex,
  type Epoch,
  HostId,
  isCloudfsError,
  NotPrimaryError,
  VersionId,
  VolumeId,
} from '@cloudfs/interface'
import { type HostKey, type PeerNode, PeerProtocolError } from '@cloudfs/peers'
import type { Logger } from 'pino'
import type { Attachments } from './attachments.js'
import type { Catalogue, Found } from './catalogue.js'
import type { EngineSupervisor } from './engine-supervisor.js'
import {
  HolderUpError,
  NoMajorityError,
  NotMemberError,
  PrimaryAwayError,
  UnknownVersionError,
} from './errors.js'
import { HeadTeller } from './head-teller.js'
import type { Claim, HolderTable } from './holder-table.js'
import type { Leading } from './leading.js'
import {
  type Acted,
  askPrimary,
  askVersion,
  type LedAnswer,
  type Member,
  type PrimaryAction,
  tellHead,
  tellLed,
} from './peer-requests.js'
import type { VolumeMaker } from './volume-maker.js'

interface BranchPoint {
  readonly found: Found
  readonly snapshot?: string
  /** One that the volume is at, or was at a short while ago. */
  readonly version?: string
}

type Volume = Answer<'volume'>

/** An action is committed by a majority, which may have to be dialled first. */
const ACT_TIMEOUT_MS = 25_000
/** Whoever asks for something waits so long for a new primary when the old one is gone; it takes about a second. */
const LEADERLESS_MS_MAX = 5_000
const LEADERLESS_RETRY_MS = 100
/** A host that is there says at once what it has attached. */
const LED_TIMEOUT_MS = 500

/** What may be done twice. */
const repeatable = new Set<PrimaryAction['action']>(['attach', 'detach'])
/** What a host is told that has a volume no longer. */
const givenUp = new Set(['ERR_VOLUME_ATTACHED', 'ERR_NOT_ATTACHED'])

interface VolumesOptions {
  readonly host: HostId
  readonly key: HostKey
  readonly engine: EngineSupervisor
  readonly peers: PeerNode
  readonly catalogue: Catalogue
  readonly maker: VolumeMaker
  readonly leading: Leading
  readonly holders: HolderTable
  readonly attachments: Attachments
  /** Has another host lead a volume that this one leads. */
  readonly handOver: (volume: VolumeId, to: HostId) => Promise<void>
  /** What is attached here is to be served by another primary. */
  readonly onDoubt: () => void
  readonly log: Logger
}

export class Volumes {
  readonly #options: VolumesOptions
  readonly #teller: HeadTeller

  constructor(options: VolumesOptions) {
    this.#options = options
    this.#teller = new HeadTeller(options.peers)
    this.#answerPeers()
  }

  /** @param from - a volume, `VOLUME@SNAPSHOT`, or a version that a volume is at or showed in the last 10 s */
  async branch({ from, name }: Body<'branch'>): Promise<Answer<'branch'>> {
    const { found, snapshot, version } = await this.#branchPoint(from)
    const { volume } = found
    const members = volume.replicas
      .filter(({ role }) => role === 'data')
      // The primary first: so it is told, and so people read it.
      .sort((a, b) => Number(b.isPrimary) - Number(a.isPrimary))
      .map(({ host, store }) => this.member(host, store))
    const made = await this.#act(volume, {
      action: 'branch',
      volume: volume.volume,
      name,
      members,
      ...(snapshot !== undefined && { snapshot }),
      ...(version !== undefined && { version }),
    })
    return {
      volume: made.volume,
      version: made.version ?? made.volume,
      replicas: members.map(({ host, store }) => ({
        host,
        store,
        zone: this.#zoneOf(host),
        isInStep: host === volume.primary || made.inStep?.includes(host) === true,
      })),
      notes: [],
    }
  }

  /** Has another of the volume's hosts lead it. @throws {NotMemberError} that host holds no replica of it; {HandOverError} */
  async migrate(reference: string, to: string): Promise<Answer<'migrate'>> {
    const { volume } = await this.#options.catalogue.find(reference)
    await this.#act(volume, { action: 'migrate', volume: volume.volume, to })
    return { volume: volume.volume, host: to }
  }

  async snapshot(reference: string, name: string): Promise<Answer<'snapshot'>> {
    const { volume } = await this.#options.catalogue.find(reference)
    const made = await this.#act(volume, { action: 'snapshot', volume: volume.volume, name })
    return {
      volume: volume.volume,
      name,
      version: made.version ?? volume.version,
      lsn: made.lsn ?? volume.lsn,
    }
  }

  async deleteSnapshot(reference: string, name: string): Promise<Answer<'deleteSnapshot'>> {
    const { volume } = await this.#options.catalogue.find(reference)
    await this.#act(volume, { action: 'delete-snapshot', volume: volume.volume, name })
    return { volume: volume.volume, name }
  }

  /** @throws {VolumeAttachedError} it is attached: `details.holder` says where */
  async delete(reference: string): Promise<Answer<'deleteVolume'>> {
    const { volume } = await this.#options.catalogue.find(reference)
    await this.#act(volume, { action: 'delete', volume: volume.volume })
    return { volume: volume.volume }
  }

  /**
   * Serves a volume at this host. Attached here already, it stays as it is: attaching twice is what a management tool does
   * after a crash of its own.
   *
   * @throws {VolumeAttachedError} another host has it, or this one otherwise, and one of the two does not share
   */
  async attach({ volume: reference, isShared }: Body<'attach'>): Promise<Answer<'attach'>> {
    const { host, attachments, catalogue } = this.#options
    const { volume } = await catalogue.find(reference)
    const id = VolumeId.parse(volume.volume)
    try {
      return await this.#attachHere(id, volume.primary, isShared)
    } catch (error) {
      // What is not served is not attached: another host may have it.
      const isTaken = !isCloudfsError(error) || !givenUp.has(error.code)
      if (isTaken && attachments.get(id) === undefined) await this.#detachQuietly(id, volume.primary, host)
      throw error
    }
  }

  /** Clients are let go first, then others may have it. @throws {NotAttachedError}, {PrimaryAwayError} */
  async detach(reference: string): Promise<Answer<'detach'>> {
    const { host, attachments, catalogue } = this.#options
    // By id without asking anybody: it must work while other hosts are away.
    const here = attachments.all().find(({ volume }) => volume === reference.toLowerCase())
    const { volume } = here ?? (await catalogue.find(reference)).volume
    const id = VolumeId.parse(volume)
    const primary = attachments.leaderOf(id) ?? (await catalogue.find(volume)).volume.primary
    await attachments.unserve(id)
    await this.#act({ volume, primary }, { action: 'detach', volume: id, host })
    return { volume }
  }

  /** Gives up the attachment of a host that is gone. @throws {NotAttachedError}, {HolderUpError} */
  async release(reference: string, host: string): Promise<Answer<'release'>> {
    const { volume } = await this.#options.catalogue.find(reference)
    await this.#act(volume, { action: 'detach', volume: volume.volume, host })
    return { volume: volume.volume, host }
  }

  /** The volume is at another version; of the volumes whose primary is here the engine says so. */
  async moved(volume: VolumeId, version: VersionId): Promise<void> {
    const { host, holders, attachments, log } = this.#options
    const others = holders.of(volume).filter((holder) => holder.host !== host)
    const work = others.map(({ host: other }) => this.#teller.tell(HostId.parse(other), volume, version))
    if (attachments.leaderOf(volume) === host) work.push(attachments.moved(volume, version))
    for (const each of await Promise.allSettled(work)) {
      if (each.status === 'fulfilled') continue
      if (!isCloudfsError(each.reason)) throw each.reason
      log.debug({ volume, err: each.reason }, 'a host does not hear of a new version')
    }
  }

  /**
   * Has what is attached here, and may be led by another host by now, served again.
   *
   * @returns whether all of it is
   */
  async restore(): Promise<boolean> {
    const { attachments, catalogue } = this.#options
    for (const { volume, hint } of attachments.doubtful)
      if (hint !== undefined) await this.#again(volume, hint)
    if (attachments.doubtful.length === 0) return true
    const all = await catalogue.all()
    for (const { volume } of attachments.doubtful) {
      const found = all.get(volume)?.volume
      if (found?.isServing === true) await this.#again(volume, HostId.parse(found.primary))
    }
    return attachments.doubtful.length === 0
  }

  /** This host leads the volume from now on: learns who has it attached, and tells them. */
  async led(volume: VolumeId): Promise<void> {
    const { holders } = this.#options
    holders.forget(volume)
    await holders.load(volume)
  }

  /** What the hosts that are there say about a volume that this host leads. */
  async askHosts(volume: VolumeId): Promise<readonly Claim[]> {
    const { host, peers, log } = this.#options
    const ask = async (other: HostId): Promise<Claim[]> => {
      try {
        return claimsOf(other, await peers.request(other, tellLed, { volume }, { timeoutMs: LED_TIMEOUT_MS }))
      } catch (error) {
        if (!isCloudfsError(error)) throw error
        log.info({ volume, host: other, err: error }, 'a host does not say whether it has a volume')
        return []
      }
    }
    const own = claimsOf(host, this.#claimOf(volume, host))
    const up = peers.members().filter(({ state }) => state === 'up')
    return [...own, ...(await Promise.all(up.map(({ hostId }) => ask(hostId)))).flat()]
  }

  /** A member's part of a view. @throws {PrimaryAwayError} */
  member(host: string, store: string): Member {
    const { key, peers } = this.#options
    const publicKey =
      host === this.#options.host ? key.publicKey : peers.member(HostId.parse(host))?.publicKey
    if (publicKey === undefined) {
      throw new PrimaryAwayError(`host ${host}, which holds a replica, is not known here`, { host })
    }
    return { host, store, publicKey: bytesToHex(publicKey) }
  }

  async #branchPoint(from: string): Promise<BranchPoint> {
    const { catalogue } = this.#options
    const at = from.lastIndexOf('@')
    const all = await catalogue.all()
    if (/^[0-9a-f]{40}$/i.test(from) && !all.has(from.toLowerCase())) {
      const version = from.toLowerCase()
      for (const found of all.values()) {
        const snapshot = found.volume.snapshots.find((each) => each.version === version)
        if (snapshot !== undefined) return { found, snapshot: snapshot.name }
      }
      // A head may pass while it is asked for: who is the volume's primary has kept it.
      const primaries = new Set([...all.values()].map((found) => found.volume.primary))
      const at = await this.#volumeAt(version, primaries)
      const found = at === undefined ? undefined : all.get(at)
      if (found !== undefined) return { found, version }
      throw new UnknownVersionError(
        `${version} is not what a volume or snapshot is at, nor was it shown in the last 10 s: ` +
          '`cloudfs branch VOLUME` takes the newest state',
        { version },
      )
    }
    if (at > 0) return { found: await catalogue.find(from.slice(0, at)), snapshot: from.slice(at + 1) }
    return { found: await catalogue.find(from) }
  }

  /** The volume that is, or a short while ago was, at a version, as far as the primaries that answer know. */
  async #volumeAt(version: string, primaries: ReadonlySet<string>): Promise<string | undefined> {
    const { peers, host, log } = this.#options
    const ask = async (primary: string): Promise<string | undefined> => {
      if (primary === host) return this.#volumeAtHere(version)
      try {
        return (await peers.request(HostId.parse(primary), askVersion, { version })).volume
      } catch (error) {
        if (!isCloudfsError(error)) throw error
        log.info({ host: primary, err: error }, 'a primary does not say whether it knows a version')
        return undefined
      }
    }
    return (await Promise.all([...primaries].map(ask))).find((volume) => volume !== undefined)
  }

  async #volumeAtHere(version: string): Promise<string | undefined> {
    try {
      return (await this.#options.engine.result('find-version', { version })).volume
    } catch (error) {
      if (isCloudfsError(error) && error.code === 'ERR_UNKNOWN_VERSION') return undefined
      throw error
    }
  }

  /** What this host has attached, and that another leads it. */
  #claimOf(volume: VolumeId, leader: HostId): LedAnswer {
    const { attachments, onDoubt } = this.#options
    const attached = attachments.get(volume)
    if (attached === undefined) return {}
    attachments.doubt(volume, leader)
    onDoubt()
    const { isShared, epoch } = attached
    return { attached: { isShared, epoch, socket: attachments.socketOf(volume) } }
  }

  /** What was attached here is attached anew; or given up, where another host has it by now. */
  async #again(volume: VolumeId, primary: HostId): Promise<void> {
    const { attachments, log } = this.#options
    const attached = attachments.get(volume)
    if (attached === undefined) return
    try {
      await this.#attachHere(volume, primary, attached.isShared, attached.epoch)
      log.info({ volume, primary }, 'an attached volume is served again')
    } catch (error) {
      if (!isCloudfsError(error)) throw error
      if (givenUp.has(error.code)) {
        log.error({ volume, err: error }, 'a volume is attached here no longer: its clients are let go')
        await attachments.unserve(volume)
      } else {
        log.info({ volume, err: error }, 'an attached volume is served later')
      }
    }
  }

  async #attachHere(
    volume: VolumeId,
    primary: string,
    isShared: boolean,
    since?: Epoch,
  ): Promise<Answer<'attach'>> {
    const { attachments } = this.#options
    const socket = attachments.socketOf(volume)
    const request = { action: 'attach', volume, isShared, socket, ...(since && { since }) } as const
    const { version, epoch, bridge, by } = await this.#act({ volume, primary }, request)
    if (version === undefined || epoch === undefined) {
      throw new PeerProtocolError(`host ${by} says not at which version volume ${volume} is`)
    }
    const serving = { volume, version: VersionId.parse(version), isShared, leader: by, epoch }
    return attachments.serve({ ...serving, ...(bridge !== undefined && { bridge }) })
  }

  async #detachQuietly(volume: VolumeId, primary: string, host: HostId): Promise<void> {
    try {
      await this.#act({ volume, primary }, { action: 'detach', volume, host })
    } catch (error) {
      if (!isCloudfsError(error)) throw error
      this.#options.log.info({ volume, err: error }, 'what was not attached was not given up')
    }
  }

  /**
   * Has a volume's primary do something: the one that is taken for it, or whoever leads instead by now. @returns what it
   * did, and who that was
   *
   * @throws {PrimaryAwayError} nobody has come to lead in time
   */
  async #act(
    { volume, primary }: Pick<Volume, 'volume' | 'primary'>,
    request: PrimaryAction,
  ): Promise<Acted & { readonly by: HostId }> {
    const giveUpMs = performance.now() + LEADERLESS_MS_MAX
    let by = HostId.parse(primary)
    for (;;) {
      try {
        return { ...(await this.#actAt(by, request)), by }
      } catch (error) {
        if (!mayBeElsewhere(error, request) || performance.now() > giveUpMs) throw error
      }
      await delay(LEADERLESS_RETRY_MS)
      by = HostId.parse((await this.#options.catalogue.find(volume)).volume.primary)
    }
  }

  async #actAt(primary: HostId, request: PrimaryAction): Promise<Acted> {
    const { host, peers } = this.#options
    if (primary === host) return this.#actHere(request, host)
    try {
      return await peers.request(primary, askPrimary, { request }, { timeoutMs: ACT_TIMEOUT_MS })
    } catch (error) {
      if (!isCloudfsError(error) || !/^ERR_(PEER_(UNREACHABLE|TIMEOUT)|UNKNOWN_HOST)$/.test(error.code))
        throw error
      throw new PrimaryAwayError(`the volume's primary ${primary} does not answer`, {
        cause: error,
        primary,
      })
    }
  }

  /** Carries out at this host, the primary, what `caller` asks for. */
  async #actHere(request: PrimaryAction, caller: HostId): Promise<Acted> {
    const { engine, holders } = this.#options
    const volume = VolumeId.parse(request.volume)
    await this.#requireLead(volume)
    switch (request.action) {
      case 'delete':
        await this.#requireMajority(volume)
        await holders.whileFree(volume, () => engine.call('delete', { volume }))
        return { volume }
      case 'migrate':
        await this.#migrate(volume, HostId.parse(request.to))
        return { volume }
      case 'snapshot':
        await this.#requireMajority(volume)
        return { volume, ...(await engine.result('snapshot', { volume, name: request.name })) }
      case 'delete-snapshot':
        await this.#requireMajority(volume)
        await engine.call('delete-snapshot', { volume, name: request.name })
        return { volume }
      case 'branch':
        return this.#branchHere(request)
      case 'attach':
        return this.#attachFor(caller, request)
      case 'detach': {
        const host = HostId.parse(request.host)
        const state = host === this.#options.host ? 'up' : this.#options.peers.member(host)?.state
        if (host !== caller && state !== 'down' && state !== undefined) {
          throw new HolderUpError(`host ${host} is ${state}: detach it there`, { volume, holder: host })
        }
        await holders.release(volume, host)
        return { volume }
      }
    }
  }

  async #migrate(volume: VolumeId, to: HostId): Promise<void> {
    const { catalogue, host, handOver } = this.#options
    if (to === host) return
    const { members } = await catalogue.here(volume)
    if (!members.some((member) => member.host === to && member.role === 'data'))
      throw new NotMemberError(`host ${to} holds no replica of volume ${volume}`, { volume, host: to })
    await handOver(volume, to)
  }

  async #branchHere(request: PrimaryAction & { action: 'branch' }): Promise<Acted> {
    const { catalogue, maker } = this.#options
    const parent = VolumeId.parse(request.volume)
    await this.#requireMajority(parent)
    const { mode } = await catalogue.here(parent)
    const { snapshot, version, name, members } = request
    return maker.branch({ parent, snapshot, version, name, members, mode })
  }

  async #attachFor(caller: HostId, request: PrimaryAction & { action: 'attach' }): Promise<Acted> {
    const { catalogue, holders, host, leading } = this.#options
    const volume = VolumeId.parse(request.volume)
    const { version } = await catalogue.here(volume)
    const { isShared, socket, since } = request
    const epoch = await holders.take(volume, { host: caller, isShared, socket }, since)
    if (caller === host) return { volume, version, epoch }
    return { volume, version, epoch, bridge: await leading.bridgeFor(volume, caller) }
  }

  /** @throws {NotPrimaryError} another host leads the volume, or none */
  async #requireLead(volume: VolumeId): Promise<void> {
    const { engine, host } = this.#options
    const [status] = await engine.result('volumes', { all: true, volume })
    if (status?.role === 'primary') return
    const other = status?.promised.host
    const hint = other === undefined || other === host ? '' : `: host ${other} does, or is about to`
    throw new NotPrimaryError(`this host does not lead volume ${volume}${hint}`, { volume })
  }

  /**
   * Without a majority a command would wait in the engine until one is there, long after whoever asked has gone.
   *
   * @throws {NoMajorityError}
   */
  async #requireMajority(volume: VolumeId): Promise<void> {
    const { members, progress = [] } = await this.#options.catalogue.here(volume)
    const voters = members.filter(({ role }) => role === 'data')
    const away = progress.filter(({ state }) => state === 'away').map(({ host }) => host)
    const presentCount = voters.length - away.length
    if (2 * presentCount > voters.length) return
    const count = `${String(presentCount)} of ${String(voters.length)}`
    throw new NoMajorityError(`${count} replicas are there: start ${away.join(', ')}`, { volume, away })
  }

  #answerPeers(): void {
    const { peers, attachments } = this.#options
    peers.handle(askPrimary, async ({ request }, caller) => this.#actHere(request, caller))
    peers.handle(tellLed, ({ volume }, caller) => this.#claimOf(VolumeId.parse(volume), caller))
    peers.handle(askVersion, async ({ version }) => {
      const volume = await this.#volumeAtHere(version)
      return { ...(volume !== undefined && { volume }) }
    })
    peers.handle(tellHead, async ({ volume, version }, caller) => {
      const id = VolumeId.parse(volume)
      if (attachments.leaderOf(id) === caller) await attachments.moved(id, VersionId.parse(version))
      return {}
    })
  }

  #zoneOf(host: string): string {
    return this.#options.peers.member(HostId.parse(host))?.info.zone ?? ''
  }
}

function claimsOf(host: HostId, { attached }: LedAnswer): Claim[] {
  if (attached === undefined) return []
  const { epoch, ...holder } = attached
  return [{ epoch, holder: { ...holder, host } }]
}

/** The primary's word that it is none; or it cannot be asked, and what it may have done is as well done twice. */
function mayBeElsewhere(error: unknown, { action }: PrimaryAction): boolean {
  if (!isCloudfsError(error)) return false
  return error.code === 'ERR_NOT_PRIMARY' || (error instanceof PrimaryAwayError && repeatable.has(action))
}
