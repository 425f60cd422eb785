/**
 * What can be done with the volumes of the cluster. Any node takes any request; what only a volume's primary can do is sent
 * on to it.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Answer, Body } from '@cloudfs/http'
import { bytesToHex, HostId, isCloudfsError, NotPrimaryError, VersionId, VolumeId } from '@cloudfs/interface'
import type { HostKey, PeerNode } from '@cloudfs/peers'
import type { Logger } from 'pino'
import type { Acting } from './acting.js'
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
import type { Holders } from './holders.js'
import { type Acted, askVersion, type Member, type PrimaryAction, tellHead } from './peer-requests.js'
import type { VolumeMaker } from './volume-maker.js'

const DELETION_LOOK_MS = 100
/** Whoever asks waits for 25 s (acting.ts). */
const DELETION_MS_MAX = 20_000

interface BranchPoint {
  readonly found: Found
  readonly snapshot?: string
  /** One that the volume is at, or was at a short while ago. */
  readonly version?: string
}

interface VolumesOptions {
  readonly host: HostId
  readonly key: HostKey
  readonly engine: EngineSupervisor
  readonly peers: PeerNode
  readonly catalogue: Catalogue
  readonly maker: VolumeMaker
  readonly acting: Acting
  readonly holders: Holders
  readonly attachments: Attachments
  /** Has another host lead a volume that this one leads. */
  readonly handOver: (volume: VolumeId, to: HostId) => Promise<void>
  readonly log: Logger
}

function rankOf({ isPrimary, role }: { readonly isPrimary: boolean; readonly role: string }): number {
  return isPrimary ? 0 : role === 'witness' ? 2 : 1
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
    const hasWitness = volume.replicas.some(({ role }) => role === 'witness')
    const members = volume.replicas
      // Beside a witness a learner is a data member that is missed, and will be back.
      .filter(({ role }) => role !== 'learner' || hasWitness)
      // The primary first, the witness last: so it is told, and so people read it.
      .sort((a, b) => rankOf(a) - rankOf(b))
      .map(({ host, store, role }) => ({
        ...this.member(host, store),
        ...(role === 'witness' && { isWitness: true }),
      }))
    const witness = members.find(({ isWitness }) => isWitness === true)
    const made = await this.#options.acting.act(volume, {
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
      replicas: members
        .filter(({ isWitness }) => isWitness !== true)
        .map(({ host, store }) => ({
          host,
          store,
          zone: this.#zoneOf(host),
          isInStep: host === volume.primary || made.inStep?.includes(host) === true,
        })),
      ...(witness && {
        witness: { host: witness.host, store: witness.store, zone: this.#zoneOf(witness.host) },
      }),
      notes: [],
    }
  }

  /** Has another of the volume's hosts lead it. @throws {NotMemberError} that host holds no replica of it; {HandOverError} */
  async migrate(reference: string, to: string): Promise<Answer<'migrate'>> {
    const { volume } = await this.#options.catalogue.find(reference)
    await this.#options.acting.act(volume, { action: 'migrate', volume: volume.volume, to })
    return { volume: volume.volume, host: to }
  }

  async snapshot(reference: string, name: string): Promise<Answer<'snapshot'>> {
    const { volume } = await this.#options.catalogue.find(reference)
    const made = await this.#options.acting.act(volume, { action: 'snapshot', volume: volume.volume, name })
    return {
      volume: volume.volume,
      name,
      version: made.version ?? volume.version,
      lsn: made.lsn ?? volume.lsn,
    }
  }

  async deleteSnapshot(reference: string, name: string): Promise<Answer<'deleteSnapshot'>> {
    const { volume } = await this.#options.catalogue.find(reference)
    await this.#options.acting.act(volume, { action: 'delete-snapshot', volume: volume.volume, name })
    return { volume: volume.volume, name }
  }

  /** @throws {VolumeAttachedError} it is attached: `details.holder` says where */
  async delete(reference: string): Promise<Answer<'deleteVolume'>> {
    const { volume } = await this.#options.catalogue.find(reference)
    await this.#options.acting.act(volume, { action: 'delete', volume: volume.volume })
    return { volume: volume.volume }
  }

  /**
   * Serves a volume at this host. Attached here already, it stays as it is, but for who else may have it: attaching twice is
   * what a management tool does after a crash of its own.
   *
   * A host that has all of the volume comes to lead it with the attachment: its VM's reads stay on the machine then.
   *
   * @throws {VolumeAttachedError} another host has it, and one of the two does not share
   */
  async attach({ volume: reference, keepPrimary, ...plan }: Body<'attach'>): Promise<Answer<'attach'>> {
    const { attachments, catalogue } = this.#options
    const found = (await catalogue.find(reference)).volume
    const volume = VolumeId.parse(found.volume)
    const { at, mayLead } = await attachments.attach(volume, found.primary, plan)
    if (mayLead && !keepPrimary) await this.#leadHere(volume, attachments.leaderOf(volume) ?? found.primary)
    return at
  }

  /** Nobody is harmed if it is not so: the volume is served from where it is led. */
  async #leadHere(volume: VolumeId, primary: string): Promise<void> {
    const { acting, host, log } = this.#options
    try {
      await acting.act({ volume, primary }, { action: 'migrate', volume, to: host })
    } catch (error) {
      if (!isCloudfsError(error)) throw error
      log.info({ volume, err: error }, 'an attached volume is not led here')
    }
  }

  /** Others may have it, then clients are let go. @throws {NotAttachedError}, {PrimaryAwayError}: it is attached still */
  async detach(reference: string): Promise<Answer<'detach'>> {
    const { attachments, catalogue } = this.#options
    // By id without asking anybody: hosts that hang would be waited for.
    const here = attachments.all().find(({ volume }) => volume === reference.toLowerCase())
    const volume = VolumeId.parse(here?.volume ?? (await catalogue.find(reference)).volume.volume)
    const primary = attachments.leaderOf(volume) ?? (await catalogue.find(volume)).volume.primary
    await attachments.detach(volume, primary)
    return { volume }
  }

  /** Gives up the attachment of a host that is gone. @throws {NotAttachedError}, {HolderUpError} */
  async release(reference: string, host: string): Promise<Answer<'release'>> {
    const { volume } = await this.#options.catalogue.find(reference)
    await this.#options.acting.act(volume, { action: 'detach', volume: volume.volume, host })
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

  /** Carries out at this host, the primary, what `caller` asks for. */
  async actHere(request: PrimaryAction, caller: HostId): Promise<Acted> {
    const { engine, holders } = this.#options
    const volume = VolumeId.parse(request.volume)
    await this.#requireLead(volume)
    switch (request.action) {
      case 'delete':
        if (await this.#isDeletedAlready(volume)) return { volume }
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
        await this.#requireMajority(volume)
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
    const { catalogue, holders, host } = this.#options
    const volume = VolumeId.parse(request.volume)
    await this.#requireMajority(volume)
    await holders.attach(volume, { ...request, host: caller })
    const { mode, members, progress = [] } = await catalogue.here(volume)
    const isInStep =
      members.some((member) => member.host === caller && member.role === 'data') &&
      progress.some((member) => member.host === caller && member.state === 'in-step')
    const mayLead = caller !== host && mode !== 'local' && isInStep
    return { volume, lead: await holders.lead(volume, caller), mayLead }
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
   * A deletion that is not committed yet goes on: a change of the view ended the command that waited for it, not the record.
   *
   * @returns false: nobody deletes it; or its deletion was not known to a majority, and is gone
   * @throws {NotPrimaryError} @throws {NoMajorityError} it is not committed in time
   */
  async #isDeletedAlready(volume: VolumeId): Promise<boolean> {
    const giveUpMs = performance.now() + DELETION_MS_MAX
    for (;;) {
      const [status] = await this.#options.engine.result('volumes', { all: true, volume })
      if (status?.deleted !== true || status.deletionCommitted) return status?.deletionCommitted === true
      if (status.role !== 'primary') await this.#requireLead(volume)
      if (performance.now() > giveUpMs) {
        const text = 'the deletion is not known to a majority yet: it goes on once more of its hosts are back'
        throw new NoMajorityError(text, { volume })
      }
      await delay(DELETION_LOOK_MS)
    }
  }

  /**
   * Without a majority a command would wait in the engine until one is there, long after whoever asked has gone.
   *
   * @throws {NoMajorityError}
   */
  async #requireMajority(volume: VolumeId): Promise<void> {
    const { members, progress = [] } = await this.#options.catalogue.here(volume)
    const voters = members.filter(({ role }) => role !== 'learner')
    const away = progress
      .filter(({ state, store }) => state === 'away' && voters.some((each) => each.store === store))
      .map(({ host }) => host)
    const presentCount = voters.length - away.length
    if (2 * presentCount > voters.length) return
    const count = `${String(presentCount)} of ${String(voters.length)}`
    throw new NoMajorityError(`${count} replicas are there: start ${away.join(', ')}`, { volume, away })
  }

  #answerPeers(): void {
    const { peers, attachments } = this.#options
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
