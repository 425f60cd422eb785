/**
 * Who keeps a volume: replicas that are added, replaced, removed, at an operator's word or because a host has been gone for
 * long. Here hosts are chosen and primaries found; what the primary then does step by step is the protocol's
 * (`SetChanges`).
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Answer } from '@cloudfs/http'
import { bytesToHex, HostId, isCloudfsError, StoreId, VolumeId, type VolumeStatus } from '@cloudfs/interface'
import type { PeerNode } from '@cloudfs/peers'
import { type HostCandidate, placeReplicas } from '@cloudfs/placement'
import {
  Absences,
  LastReplicaError,
  type Led,
  type Place,
  type SetChange,
  SetChanges,
  type Wish,
} from '@cloudfs/protocol'
import type { Logger } from 'pino'
import type { Catalogue } from './catalogue.js'
import type { CreationEffects } from './creation.js'
import type { EngineSupervisor } from './engine-supervisor.js'
import { NotMemberError } from './errors.js'
import { viewOf } from './held-volumes.js'
import { askSet } from './set-requests.js'

/** A step is an election and a hand-over at most. */
const STEP_TIMEOUT_MS = 25_000
/** Learners that are brought up by this host at once without anybody having asked for it. */
const REBUILDS_MAX = 4
/** Room that a new replica needs at first: volumes are thin. */
const FIRST_BYTES_MAX = 64 * 1024 ** 2

interface MembershipOptions {
  readonly host: HostId
  readonly engine: EngineSupervisor
  readonly peers: PeerNode
  readonly catalogue: Catalogue
  /** This host and the others, as placement sees them. */
  readonly candidates: () => Promise<HostCandidate[]>
  readonly effects: Pick<CreationEffects, 'reserve' | 'release'>
  readonly changeSet: (volume: VolumeId, change: SetChange) => Promise<void>
  readonly handOver: (volume: VolumeId, to: HostId) => Promise<void>
  /** A member that has been gone this long is replaced. */
  readonly replaceAfterMs: number
  readonly log: Logger
}

export class Membership {
  readonly #options: MembershipOptions
  readonly #changes: SetChanges
  readonly #absences: Absences

  constructor(options: MembershipOptions) {
    this.#options = options
    const { host, engine, peers, changeSet, handOver, log } = options
    this.#absences = new Absences(options.replaceAfterMs)
    this.#changes = new SetChanges({
      host,
      clock: {
        nowMs: () => performance.now(),
        sleep: (ms, signal) => delay(ms, undefined, { signal }),
      },
      led: async (volume) => {
        const [status] = await engine.result('volumes', { volume })
        return status?.role === 'primary' ? ledOf(status) : undefined
      },
      changeSet,
      handOver,
      ask: (primary, volume, wish) => this.#ask(volume, primary, wish),
      log: (message, detail) => {
        log.info(detail, message)
      },
      onBug: (error) => {
        log.error({ err: error }, 'a bug')
      },
    })
    peers.handle(askSet, async ({ volume, joins, leaves }) => {
      await this.#changes.begin(volume, { joins, leaves })
      return {}
    })
  }

  /**
   * Has a host keep the volume, in the place of `leaves` if that is given; answered when it is on its way.
   *
   * @throws {TooFewHostsError} no host can; {NotMemberError}; {SetChangeError} too few members answer
   */
  async replace(
    reference: string,
    { leaves, joins }: { readonly leaves?: string | undefined; readonly joins?: string | undefined },
  ): Promise<Answer<'replace'>> {
    const { volume } = await this.#options.catalogue.find(reference)
    if (leaves !== undefined && !volume.replicas.some(({ host }) => host === leaves))
      throw new NotMemberError(`host ${leaves} keeps no replica of volume ${volume.volume}`, { host: leaves })
    // One that learns already goes on.
    const learner = volume.replicas.find(
      ({ role, host }) => role === 'learner' && (joins === undefined || host === joins),
    )
    const place =
      learner === undefined
        ? await this.#choose(
            volume.replicas.filter(({ host }) => host !== leaves),
            volume.sizeBytes,
            { wanted: joins, not: volume.replicas.map(({ host }) => host) },
          )
        : { host: HostId.parse(learner.host), store: StoreId.parse(learner.store) }
    const wish = { joins: place, ...(leaves !== undefined && { leaves: HostId.parse(leaves) }) }
    await this.#ask(VolumeId.parse(volume.volume), HostId.parse(volume.primary), wish)
    return { volume: volume.volume, joins: place.host, ...(leaves !== undefined && { leaves }) }
  }

  /** Has a host keep the volume no longer. @throws {NotMemberError}; {LastReplicaError}; {SetChangeError} too few members answer */
  async remove(reference: string, leaves: string): Promise<Answer<'removeReplica'>> {
    const { volume } = await this.#options.catalogue.find(reference)
    const member = volume.replicas.find(({ host }) => host === leaves)
    if (member === undefined)
      throw new NotMemberError(`host ${leaves} keeps no replica of volume ${volume.volume}`, { host: leaves })
    if (member.role === 'data' && volume.replicas.filter(({ role }) => role === 'data').length === 1)
      throw new LastReplicaError(`host ${leaves} has the only replica of volume ${volume.volume}`, {
        volume: volume.volume,
      })
    await this.#ask(VolumeId.parse(volume.volume), HostId.parse(volume.primary), {
      leaves: HostId.parse(leaves),
    })
    return { volume: volume.volume, leaves }
  }

  /** Replaces members that have been gone for long, of volumes led here. `volumes` are all that the store has. */
  mend(volumes: readonly VolumeStatus[]): void {
    const led = volumes.filter(
      ({ role, deletionCommitted, established }) => role === 'primary' && !deletionCommitted && established,
    )
    const nowMs = performance.now()
    const gone = this.#absences.overdue(new Map(led.map((each) => [each.volume, ledOf(each)])), nowMs)
    for (const { volume, host } of gone) {
      const { volumes: busy } = this.#changes
      const status = led.find((each) => each.volume === volume)
      if (status === undefined || busy.has(volume) || busy.size >= REBUILDS_MAX) continue
      this.#absences.tried(volume, nowMs)
      this.#rebuild(status, host)
    }
  }

  close(): Promise<void> {
    return this.#changes.close()
  }

  #rebuild(status: VolumeStatus, gone: HostId): void {
    const { log } = this.#options
    const { volume, sizeBytes } = status
    const { members } = ledOf(status)
    const learner = members.find(({ role }) => role === 'learner')
    const begin = async (): Promise<void> => {
      const stay = members.filter(({ host }) => host !== gone)
      const not = members.map(({ host }) => host)
      const joins = learner ?? (await this.#choose(stay, sizeBytes, { not }))
      log.warn({ volume, gone, joins: joins.host }, 'a replica is gone: another takes its place')
      await this.#changes.begin(volume, { joins: { host: joins.host, store: joins.store }, leaves: gone })
    }
    begin().catch((error: unknown) => {
      if (isCloudfsError(error)) log.warn({ volume, gone, err: error }, 'no other host takes its place')
      else log.error({ err: error }, 'a bug')
    })
  }

  async #ask(volume: VolumeId, primary: HostId, wish: Wish): Promise<void> {
    const { host, peers } = this.#options
    if (primary === host) return this.#changes.begin(volume, wish)
    const { joins, leaves } = wish
    const message = { volume, ...(joins && { joins }), ...(leaves !== undefined && { leaves }) }
    await peers.request(primary, askSet, message, { timeoutMs: STEP_TIMEOUT_MS })
  }

  /** A host that can take a replica beside these, in a zone where none is if there is one. */
  async #choose(
    stay: readonly { readonly host: string }[],
    sizeBytes: number,
    { wanted, not }: { readonly wanted?: string | undefined; readonly not: readonly string[] },
  ): Promise<Place> {
    const { candidates, effects } = this.#options
    const all = await candidates()
    const others = all.filter(({ host }) => !not.includes(host) && (wanted ?? host) === host)
    const zones = new Set(
      all.filter(({ host }) => stay.some((each) => each.host === host)).map(({ zone }) => zone),
    )
    const apart = others.filter(({ zone, state }) => !zones.has(zone) && state === 'up')
    const needBytes = Math.min(sizeBytes, FIRST_BYTES_MAX)
    const hosts = apart.length > 0 ? apart : others
    const { replicas } = placeReplicas({ count: 1, needBytes, hosts }, Math.random)
    const [place] = replicas
    if (place === undefined) throw new Error('a placement of one replica has one')
    const reservation = bytesToHex(new Uint8Array(randomBytes(20)))
    await effects.reserve(place, reservation, needBytes)
    await effects.release(HostId.parse(place.host), reservation)
    return { host: HostId.parse(place.host), store: StoreId.parse(place.store) }
  }
}

function ledOf(status: VolumeStatus): Led {
  const { members } = viewOf(status)
  return {
    mode: status.mode,
    members: members.map(({ host, store, role }) => ({ host, store, role })),
    progress: status.members ?? [],
  }
}
