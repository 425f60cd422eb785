/**
 * Volumes across the cluster: who holds them, and what can be done with them. Any node takes any request; what only the
 * primary can do is sent on to it.
 */
import { randomBytes } from 'node:crypto'
import type { Answer, Body } from '@cloudfs/http'
import type { StoreId } from '@cloudfs/interface'
import {
  AmbiguousNameError,
  bytesToHex,
  HostId,
  isCloudfsError,
  UnknownVolumeError,
  VolumeId,
} from '@cloudfs/interface'
import type { HostKey, PeerNode } from '@cloudfs/peers'
import { type HostCandidate, placeReplicas, type Placement, type ReplicaPlace } from '@cloudfs/placement'
import type { Logger } from 'pino'
import type { Attachments } from './attachments.js'
import type { EngineSupervisor } from './engine-supervisor.js'
import {
  NotPrimaryError,
  PrimaryAwayError,
  ReplicationUnavailableError,
  UnknownVersionError,
  VolumeAttachedError,
} from './errors.js'
import { heldVolume } from './held-volumes.js'
import {
  askCreate,
  askPrimary,
  askRelease,
  askReserve,
  askVolumes,
  type HeldVolume,
  type Acted,
  type Member,
  type PrimaryAction,
} from './peer-requests.js'
import { Reservations } from './reservations.js'
import { VolumeMaker } from './volume-maker.js'

type Volume = Answer<'volume'>
type Replica = Volume['replicas'][number]

/**
 * Until replicators have engines follow each other, a creation at several hosts would wait for a majority for ever.
 */
const REPLICAS_MAX = 1

/** Room that a new replica needs at first: volumes are thin. */
const FIRST_BYTES_MAX = 64 * 1024 ** 2
/** A host that does not answer in time is left out of the list. */
const LIST_TIMEOUT_MS = 2_000
/** A creation is committed by a majority, which may have to be dialled first. */
const CREATE_TIMEOUT_MS = 20_000

export interface VolumesOptions {
  readonly host: HostId
  readonly key: HostKey
  readonly engine: EngineSupervisor
  readonly peers: PeerNode
  readonly attachments: Attachments
  /** This host and the others, as placement sees them. */
  readonly candidates: () => Promise<HostCandidate[]>
  /** The store of this host. */
  readonly store: () => StoreId
  readonly log: Logger
}

/** A volume and what each host that holds it says. */
export interface Found {
  readonly volume: Volume
  readonly held: ReadonlyMap<string, HeldVolume>
}

interface Reserved {
  readonly placement: Placement
  readonly members: Member[]
  readonly reservation: string
}

export class Volumes {
  readonly #options: VolumesOptions
  readonly #maker: VolumeMaker
  readonly #reservations = new Reservations(() => performance.now())

  constructor(options: VolumesOptions) {
    this.#options = options
    this.#maker = new VolumeMaker(options.engine, options.host)
    this.#answerPeers()
  }

  /** What this host holds. */
  async held(): Promise<HeldVolume[]> {
    const { engine, attachments } = this.#options
    return (await engine.result('volumes', {})).map((status) => {
      const attachment = attachments.get(status.volume)
      return { ...heldVolume(status), ...(attachment !== undefined && { attachment }) }
    })
  }

  /** All volumes of the hosts that answer, by id. */
  async all(): Promise<Map<string, Found>> {
    const { host, peers, log } = this.#options
    const lists = new Map<string, readonly HeldVolume[]>()
    const ask = async (from: HostId): Promise<void> => {
      try {
        const list =
          from === host
            ? await this.held()
            : (await peers.request(from, askVolumes, {}, { timeoutMs: LIST_TIMEOUT_MS })).volumes
        lists.set(from, list)
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

  /** Two steps: the chosen hosts keep room, then the primary makes the volume; what was cut off between expires. */
  async create(request: Body<'newVolume'>): Promise<Answer<'newVolume'>> {
    const { host } = this.#options
    if (request.replicas > REPLICAS_MAX) {
      throw new ReplicationUnavailableError('volumes of this build have one replica: cloudfs newdisk 1')
    }
    const needBytes = Math.min(request.sizeBytes, FIRST_BYTES_MAX)
    const { placement, members, reservation } = await this.#reserve(request.replicas, needBytes)
    const { sizeBytes, name, mode } = request
    const message = { sizeBytes, name, mode, members }
    const primary = HostId.parse(placement.replicas[0]?.host ?? host)
    try {
      const made =
        primary === host
          ? await this.#maker.create(message)
          : await this.#options.peers.request(primary, askCreate, message, { timeoutMs: CREATE_TIMEOUT_MS })
      return {
        volume: made.volume,
        version: made.version,
        replicas: [...placement.replicas],
        notes: placement.notes.map(({ text }) => text),
      }
    } finally {
      await this.#release(placement, reservation)
    }
  }

  /** @param from - a volume, `VOLUME@SNAPSHOT`, or the version that a volume is at */
  async branch({ from, name }: Body<'branch'>): Promise<Answer<'branch'>> {
    const { found, snapshot } = await this.#branchPoint(from)
    const { volume } = found
    const members = volume.replicas
      .filter(({ role }) => role === 'data')
      .map(({ host, store }) => this.#member(host, store))
    const made = await this.#act(volume, {
      action: 'branch',
      volume: volume.volume,
      name,
      members,
      ...(snapshot !== undefined && { snapshot }),
    })
    return {
      volume: made.volume,
      version: made.version ?? made.volume,
      replicas: members.map(({ host, store }) => ({ host, store, zone: this.#zoneOf(host) })),
      notes: [],
    }
  }

  async snapshot(reference: string, name: string): Promise<Answer<'snapshot'>> {
    const { volume } = await this.find(reference)
    const made = await this.#act(volume, { action: 'snapshot', volume: volume.volume, name })
    return {
      volume: volume.volume,
      name,
      version: made.version ?? volume.version,
      lsn: made.lsn ?? volume.lsn,
    }
  }

  async deleteSnapshot(reference: string, name: string): Promise<Answer<'deleteSnapshot'>> {
    const { volume } = await this.find(reference)
    await this.#act(volume, { action: 'delete-snapshot', volume: volume.volume, name })
    return { volume: volume.volume, name }
  }

  /** @throws {VolumeAttachedError} it is attached: `details.holder` says where */
  async delete(reference: string): Promise<Answer<'deleteVolume'>> {
    const { volume } = await this.find(reference)
    await this.#act(volume, { action: 'delete', volume: volume.volume })
    return { volume: volume.volume }
  }

  /** @throws {VolumeAttachedError}, {NotPrimaryError} */
  async attach({ volume: reference, isShared }: Body<'attach'>): Promise<Answer<'attach'>> {
    const { host, attachments } = this.#options
    const { volume } = await this.find(reference)
    if (volume.primary !== host) {
      const holder = volume.attachment?.host
      if (holder !== undefined && !isShared) throw attachedAt(volume.volume, holder)
      throw new NotPrimaryError(`host ${volume.primary} is the volume's primary: attach it there`, {
        volume: volume.volume,
        primary: volume.primary,
      })
    }
    return attachments.attach({ volume: volume.volume, version: volume.version }, isShared)
  }

  async detach(reference: string): Promise<Answer<'detach'>> {
    const { attachments } = this.#options
    // By name it is looked for among what is attached here, so that it works while other hosts are away.
    const held = await this.held()
    const here = held.filter(
      ({ volume, name }) =>
        (volume === reference || name === reference) && attachments.get(VolumeId.parse(volume)) !== undefined,
    )
    const volume = VolumeId.parse(
      here.length === 1 ? (here[0]?.volume ?? '') : (await this.find(reference)).volume.volume,
    )
    await attachments.detach(volume)
    return { volume }
  }

  /** Chooses hosts and has them keep room; one that declines is left out and the choice made again. */
  async #reserve(count: number, needBytes: number): Promise<Reserved> {
    const { host, candidates, log } = this.#options
    const declined = new Map<string, string>()
    for (;;) {
      const hosts = (await candidates()).map((each) =>
        declined.has(each.host) ? { ...each, state: 'suspect' as const } : each,
      )
      const placement = placeReplicas({ count, needBytes, hosts, preferPrimary: host }, Math.random)
      const reservation = bytesToHex(randomBytes(20))
      const refused: string[] = []
      await Promise.all(
        placement.replicas.map(async (place) => {
          try {
            await this.#reserveAt(place, reservation, needBytes)
          } catch (error) {
            if (!isCloudfsError(error)) throw error
            log.info({ host: place.host, err: error }, 'declines to take a replica')
            declined.set(place.host, error.message)
            refused.push(place.host)
          }
        }),
      )
      if (refused.length === 0) {
        const members = placement.replicas.map((place) => this.#member(place.host, place.store))
        return { placement, members, reservation }
      }
      await this.#release(placement, reservation)
    }
  }

  /** A host that does not hear of it keeps the room a little longer. */
  async #release({ replicas }: Placement, reservation: string): Promise<void> {
    const { host: self, peers, log } = this.#options
    this.#reservations.release(reservation)
    const others = replicas.filter(({ host }) => host !== self)
    const asked = await Promise.allSettled(
      others.map(({ host }) => peers.request(host, askRelease, { reservation })),
    )
    for (const each of asked)
      if (each.status === 'rejected') log.info({ err: each.reason as unknown }, 'not released')
  }

  async #reserveAt({ host, store }: ReplicaPlace, reservation: string, needBytes: number): Promise<void> {
    const message = { reservation, store, needBytes }
    if (host === this.#options.host) await this.#keepRoom(message)
    else await this.#options.peers.request(host, askReserve, message)
  }

  async #keepRoom(message: { reservation: string; needBytes: number }): Promise<{ store: string }> {
    const own = (await this.#options.candidates()).find(({ host }) => host === this.#options.host)
    this.#reservations.keep(message.reservation, message.needBytes, own?.stores[0]?.freeBytes ?? 0)
    return { store: this.#options.store() }
  }

  async #branchPoint(from: string): Promise<{ found: Found; snapshot?: string }> {
    const at = from.lastIndexOf('@')
    const all = await this.all()
    if (/^[0-9a-f]{40}$/i.test(from) && !all.has(from.toLowerCase())) {
      const version = from.toLowerCase()
      for (const found of all.values()) {
        if (found.volume.version === version) return { found }
        const snapshot = found.volume.snapshots.find((each) => each.version === version)
        if (snapshot !== undefined) return { found, snapshot: snapshot.name }
      }
      throw new UnknownVersionError(
        `${version} is not what a volume or snapshot is at now; branch VOLUME takes the newest state`,
        { version },
      )
    }
    if (at > 0) return { found: await this.find(from.slice(0, at)), snapshot: from.slice(at + 1) }
    return { found: await this.find(from) }
  }

  async #act(volume: Volume, request: PrimaryAction): Promise<Acted> {
    if (volume.primary === this.#options.host) return this.actHere(request)
    try {
      return await this.#options.peers.request(
        HostId.parse(volume.primary),
        askPrimary,
        { request },
        { timeoutMs: CREATE_TIMEOUT_MS },
      )
    } catch (error) {
      if (!isCloudfsError(error) || !/^ERR_(PEER_(UNREACHABLE|TIMEOUT)|UNKNOWN_HOST)$/.test(error.code))
        throw error
      throw new PrimaryAwayError(`the volume's primary ${volume.primary} does not answer`, {
        cause: error,
        primary: volume.primary,
      })
    }
  }

  /** Carries out at this host, the primary, what any node was asked for. */
  async actHere(request: PrimaryAction): Promise<Acted> {
    const { engine, attachments, host } = this.#options
    const volume = VolumeId.parse(request.volume)
    switch (request.action) {
      case 'delete':
        if (attachments.get(volume) !== undefined) throw attachedAt(volume, host)
        await engine.call('delete', { volume })
        return { volume }
      case 'snapshot':
        return { volume, ...(await engine.result('snapshot', { volume, name: request.name })) }
      case 'delete-snapshot':
        await engine.call('delete-snapshot', { volume, name: request.name })
        return { volume }
      case 'branch': {
        const held = (await this.held()).find((each) => each.volume === volume)
        if (held === undefined) throw new UnknownVolumeError(`no volume ${volume} is here`, { volume })
        const { snapshot, name, members } = request
        const made = await this.#maker.branch({ parent: volume, snapshot, name, members, mode: held.mode })
        return { volume: made.volume, version: made.version, lsn: made.lsn }
      }
    }
  }

  #answerPeers(): void {
    const { peers } = this.#options
    peers.handle(askVolumes, async () => ({ volumes: await this.held() }))
    peers.handle(askReserve, async (message) => this.#keepRoom(message))
    peers.handle(askRelease, ({ reservation }) => {
      this.#reservations.release(reservation)
      return {}
    })
    peers.handle(askCreate, async (message) => {
      const { volume, version } = await this.#maker.create(message)
      return { volume, version }
    })
    peers.handle(askPrimary, async ({ request }) => this.actHere(request))
  }

  #member(host: string, store: string): Member {
    const { key, peers } = this.#options
    const publicKey =
      host === this.#options.host ? key.publicKey : peers.member(HostId.parse(host))?.publicKey
    if (publicKey === undefined) {
      throw new PrimaryAwayError(`host ${host}, which holds a replica, is not known here`, { host })
    }
    return { host, store, publicKey: bytesToHex(publicKey) }
  }

  #zoneOf(host: string): string {
    return this.#options.peers.member(HostId.parse(host))?.info.zone ?? ''
  }
}

function attachedAt(volume: string, holder: string): VolumeAttachedError {
  return new VolumeAttachedError(`the volume is attached at host ${holder}`, { volume, holder })
}

/** The primary's word counts where it answers; else that of the replica furthest on. */
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
    const best = [...held.entries()].sort(([hostA, a], [hostB, b]) => rank(hostB, b) - rank(hostA, a))[0]
    if (best === undefined) continue
    const { members, ...volume } = best[1]
    const replicas = members.map((member) => replicaOf(member, volume, held.get(member.host), lists))
    merged.set(id, { volume: { ...volume, replicas }, held })
  }
  return merged
}

function rank(host: string, held: HeldVolume): number {
  return host === held.primary ? Number.POSITIVE_INFINITY : held.lsn
}

function replicaOf(
  member: HeldVolume['members'][number],
  volume: Omit<HeldVolume, 'members'>,
  held: HeldVolume | undefined,
  lists: ReadonlyMap<string, unknown>,
): Replica {
  const isPrimary = member.host === volume.primary
  if (held === undefined) {
    return { ...member, isPrimary, state: lists.has(member.host) ? 'behind' : 'away' }
  }
  return {
    ...member,
    isPrimary,
    state: held.lsn >= volume.committedLsn ? 'in-step' : 'behind',
    lsn: held.lsn,
  }
}
