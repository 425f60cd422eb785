/**
 * What can be done with the volumes of the cluster. Any node takes any request; what only a volume's primary can do is sent
 * on to it.
 */
import type { Answer, Body } from '@cloudfs/http'
import {
  bytesToHex,
  HostId,
  isCloudfsError,
  UnknownVolumeError,
  VersionId,
  VolumeId,
} from '@cloudfs/interface'
import type { HostKey, PeerNode } from '@cloudfs/peers'
import type { Logger } from 'pino'
import type { Attachments } from './attachments.js'
import type { Catalogue, Found } from './catalogue.js'
import type { EngineSupervisor } from './engine-supervisor.js'
import { HolderUpError, NoMajorityError, PrimaryAwayError, UnknownVersionError } from './errors.js'
import { HeadTeller } from './head-teller.js'
import { viewOf } from './held-volumes.js'
import type { HolderTable } from './holder-table.js'
import type { Leading } from './leading.js'
import {
  type Acted,
  askAttached,
  askPrimary,
  askVersion,
  type HeldVolume,
  type Member,
  type PrimaryAction,
  tellHead,
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
    const request = { action: 'attach', volume: id, isShared, socket: attachments.socketOf(id) } as const
    const { version = volume.version, bridge } = await this.#act(volume, request)
    try {
      return await attachments.serve({
        volume: id,
        version: VersionId.parse(version),
        isShared,
        ...(bridge !== undefined && { bridge: { ...bridge, leader: HostId.parse(volume.primary) } }),
      })
    } catch (error) {
      // What is not served is not attached: another host may have it.
      if (attachments.get(id) === undefined) await this.#act(volume, { action: 'detach', volume: id, host })
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
    await this.#act({ primary }, { action: 'detach', volume: id, host })
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
    if (attachments.leaderOf(volume) === undefined) work.push(attachments.moved(volume, version))
    for (const each of await Promise.allSettled(work)) {
      if (each.status === 'fulfilled') continue
      if (!isCloudfsError(each.reason)) throw each.reason
      log.debug({ volume, err: each.reason }, 'a host does not hear of a new version')
    }
  }

  /** Serves again what is attached here of the volumes whose primary is here, each time an engine is there anew. */
  async restore(): Promise<void> {
    const { engine, host, holders, attachments, log } = this.#options
    for (const status of await engine.result('volumes', {})) {
      if (viewOf(status).primary !== host) continue
      try {
        await holders.load(status.volume)
        const holder = holders.of(status.volume).find((each) => each.host === host)
        if (holder === undefined) continue
        await attachments.serve({ ...status, isShared: holder.isShared })
      } catch (error) {
        log.error({ err: error, volume: status.volume }, 'an attached volume cannot be served again')
      }
    }
  }

  /** Serves again what is attached here of the volumes whose primary is another host. */
  async restoreFrom(primary: HostId): Promise<void> {
    const { peers, attachments } = this.#options
    const { volumes } = await peers.request(primary, askAttached, {})
    for (const { volume, version, isShared, bridge } of volumes) {
      await attachments.serve({
        volume: VolumeId.parse(volume),
        version: VersionId.parse(version),
        isShared,
        bridge: { ...bridge, leader: primary },
      })
    }
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

  async #act({ primary }: Pick<Volume, 'primary'>, request: PrimaryAction): Promise<Acted> {
    const { host, peers } = this.#options
    if (primary === host) return this.#actHere(request, host)
    try {
      return await peers.request(
        HostId.parse(primary),
        askPrimary,
        { request },
        { timeoutMs: ACT_TIMEOUT_MS },
      )
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
    switch (request.action) {
      case 'delete':
        await this.#requireMajority(volume)
        await holders.whileFree(volume, () => engine.call('delete', { volume }))
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
        return this.#attachHere(request, caller)
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

  async #branchHere(request: PrimaryAction & { action: 'branch' }): Promise<Acted> {
    const { catalogue, maker } = this.#options
    const parent = VolumeId.parse(request.volume)
    await this.#requireMajority(parent)
    const { mode } = await catalogue.here(parent)
    const { snapshot, version, name, members } = request
    return maker.branch({ parent, snapshot, version, name, members, mode })
  }

  async #attachHere(request: PrimaryAction & { action: 'attach' }, caller: HostId): Promise<Acted> {
    const { catalogue, holders, host, leading } = this.#options
    const volume = VolumeId.parse(request.volume)
    const { version, primary } = await catalogue.here(volume)
    if (primary !== host)
      throw new UnknownVolumeError(`this host is not the primary of ${volume}`, { volume })
    const { isShared, socket } = request
    await holders.take(volume, { host: caller, isShared, socket })
    if (caller === host) return { volume, version }
    return { volume, version, bridge: await leading.bridgeFor(volume, caller) }
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
    const { peers, attachments, holders, leading, catalogue } = this.#options
    peers.handle(askPrimary, async ({ request }, caller) => this.#actHere(request, caller))
    peers.handle(askAttached, async (_message, caller) => {
      const held = new Map((await catalogue.held()).map((each): [string, HeldVolume] => [each.volume, each]))
      const volumes = holders.at(caller).flatMap(({ volume, holder: { isShared } }) => {
        const version = held.get(volume)?.version
        return version === undefined ? [] : [{ volume, version, isShared }]
      })
      return {
        volumes: await Promise.all(
          volumes.map(async (each) => ({ ...each, bridge: await leading.bridgeFor(each.volume, caller) })),
        ),
      }
    })
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
