/**
 * Who keeps a volume: replicas that are added, replaced, removed, at an operator's word or because a host has been gone for
 * long or is to keep nothing (evacuation.ts). Here hosts are chosen and primaries found; what the primary then does step by step is the protocol's
 * (`SetChanges`).
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Answer } from '@cloudfs/http'
import { bytesToHex, HostId, isCloudfsError, StoreId, VolumeId, type VolumeStatus } from '@cloudfs/interface'
import type { PeerNode } from '@cloudfs/peers'
import { type HostCandidate, placeReplicas, TooFewHostsError } from '@cloudfs/placement'
import {
  Absences,
  Degrading,
  isDegraded,
  type DegradingStep,
  LastReplicaError,
  type Led,
  type Place,
  type SetChange,
  SetChangeError,
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
/** Where a member that is to go could not, it is tried again behind this. */
const MOVE_AGAIN_MS = 5_000
/** The same where no host has room, which does not change by itself. */
const PLACE_AGAIN_MS = 30_000
/** Who has handed over asks for its leave itself, unless it comes to harm. */
const HEIR_WAITS_MS = 10_000
/** A hand-over is forgotten that has not come. */
const HEIR_FORGETS_MS = 60_000
/** Volumes that a refusal of an evacuation names. */
const NAMED_MAX = 5
/** Room that a new replica needs at first: volumes are thin. */
const FIRST_BYTES_MAX = 64 * 1024 ** 2

type Volume = Answer<'volume'>

/** A volume led here whose set could not be changed at the last try. */
export type Work = {
  readonly volume: VolumeId
  readonly problem: Problem
}

type Problem = {
  readonly code: string
  readonly message: string
}

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
  /** Such a host is to keep nothing. */
  readonly isLeaving: (host: HostId) => boolean
  /** A set has changed: what is next can be done. */
  readonly changed: () => void
  readonly log: Logger
}

export class Membership {
  readonly #options: MembershipOptions
  readonly #changes: SetChanges
  readonly #absences: Absences
  readonly #degrading = new Degrading()
  /** Why a set could not be changed, and when that was. */
  readonly #problems = new Map<VolumeId, Problem & { readonly atMs: number }>()
  /** Volumes for which this host has begun what nobody asked for, until the first step is done. */
  readonly #beginning = new Set<VolumeId>()
  /** Hosts that go as soon as this one leads: they hand over to it for that. */
  readonly #inherited = new Map<VolumeId, { readonly leaves: HostId; readonly atMs: number }>()

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
        // One that is being deleted too: behind the deletion the set goes on without a data member that is away (W4).
        const [status] = await engine.result('volumes', { all: true, volume })
        return status?.role === 'primary' && !status.deletionCommitted ? ledOf(status) : undefined
      },
      changeSet,
      handOver: async (volume, to) => {
        await peers.request(
          to,
          askSet,
          { volume, leaves: host, isHeir: true },
          { timeoutMs: STEP_TIMEOUT_MS },
        )
        await handOver(volume, to)
      },
      ask: (primary, volume, wish) => this.#ask(volume, primary, wish),
      log: (message, detail) => {
        log.info(detail, message)
        const { volume, err } = detail as { readonly volume?: VolumeId; readonly err?: unknown }
        if (volume !== undefined && isCloudfsError(err)) this.#failed(volume, err)
        else options.changed()
      },
      onBug: (error) => {
        log.error({ err: error }, 'a bug')
      },
    })
    peers.handle(askSet, async ({ volume, joins, leaves, isHeir }) => {
      if (isHeir === true && leaves !== undefined)
        this.#inherited.set(volume, { leaves, atMs: performance.now() })
      else await this.#changes.begin(volume, { joins, leaves })
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
    const leaving = volume.replicas.find(({ host }) => host === leaves)
    if (leaves !== undefined && leaving === undefined)
      throw new NotMemberError(`host ${leaves} keeps no replica of volume ${volume.volume}`, { host: leaves })
    if (leaving?.role === 'witness') throw witnessStays(volume.volume, leaving.host)
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

  /** What could not be done. */
  work(): Work[] {
    return [...this.#problems].map(([volume, { code, message }]) => ({ volume, problem: { code, message } }))
  }

  /** @throws {TooFewHostsError} nobody could take the place of a host in one of these volumes */
  async requirePlaces(host: HostId, volumes: readonly Volume[]): Promise<void> {
    const hosts = await this.#options.candidates()
    const lacking = volumes.filter(({ replicas, sizeBytes }) => {
      if (replicas.some((each) => each.role === 'learner' && each.host !== host)) return false
      const others = hosts.filter((each) => !replicas.some((replica) => replica.host === each.host))
      try {
        placeReplicas({ count: 1, needBytes: firstBytesOf(sizeBytes), hosts: others }, Math.random)
        return false
      } catch (error) {
        if (error instanceof TooFewHostsError) return true
        throw error
      }
    })
    const witnessed = volumes.find(({ replicas }) =>
      replicas.some((each) => each.role === 'witness' && each.host === host),
    )
    if (witnessed !== undefined) throw witnessStays(witnessed.volume, host)
    if (lacking.length === 0) return
    const names = lacking.slice(0, NAMED_MAX).map(({ volume, name }) => (name === '' ? volume : name))
    const count = `${String(lacking.length)} of ${String(volumes.length)} volumes`
    const more = lacking.length > NAMED_MAX ? ', …' : ''
    throw new TooFewHostsError(
      `host ${host} cannot be emptied: no other host that is up can take ${count} (${names.join(', ')}${more}): start another node, or keep fewer replicas`,
      { host, volumes: lacking.map(({ volume }) => volume) },
    )
  }

  /**
   * Replaces members that have been gone for long, or are to go, of volumes led here. `volumes` are all that the store has.
   */
  mend(volumes: readonly VolumeStatus[]): void {
    const led = new Map(
      volumes
        .filter(
          ({ role, deletionCommitted, established }) =>
            role === 'primary' && !deletionCommitted && established,
        )
        .map((each) => [each.volume, ledOf(each)]),
    )
    const nowMs = performance.now()
    this.#forget(led, nowMs)
    for (const step of this.#degrading.steps(led, nowMs)) {
      if ('again' in step && !this.#mayBegin(step.volume)) continue
      this.#degrading.tried(step.volume, nowMs)
      this.#settle(step.volume, step)
    }
    for (const [volume, { members }] of led) {
      const leaves = members.find(({ host }) => this.#options.isLeaving(host))
      if (leaves === undefined || this.#isTooSoon(volume, leaves.host, nowMs)) continue
      if (leaves.role === 'learner' ? !this.#beginning.has(volume) : this.#mayBegin(volume))
        this.#begin(volume, leaves.host)
    }
    for (const { volume, host } of this.#absences.overdue(led, nowMs)) {
      if (!this.#mayBegin(volume)) continue
      this.#absences.tried(volume, nowMs)
      this.#begin(volume, host)
    }
  }

  /** W4: a set with a witness goes on without a data member, or with it again. */
  #settle(volume: VolumeId, step: DegradingStep): void {
    const { log, changed } = this.#options
    const work =
      'again' in step
        ? this.#changes.begin(volume, { joins: step.again })
        : this.#changes.degrade(volume, step.without)
    log.warn(step, 'again' in step ? 'a data member counts again' : 'the set goes on with one data copy')
    work.then(changed, (error: unknown) => {
      if (isCloudfsError(error)) this.#failed(volume, error)
      else log.error({ err: error }, 'a bug')
    })
  }

  #mayBegin(volume: VolumeId): boolean {
    const { volumes: busy } = this.#changes
    return (
      !busy.has(volume) && !this.#beginning.has(volume) && busy.size + this.#beginning.size < REBUILDS_MAX
    )
  }

  #isTooSoon(volume: VolumeId, leaves: HostId, nowMs: number): boolean {
    const inherited = this.#inherited.get(volume)
    if (inherited?.leaves === leaves && nowMs - inherited.atMs < HEIR_WAITS_MS) return true
    const problem = this.#problems.get(volume)
    const againMs = problem?.code === 'ERR_TOO_FEW_HOSTS' ? PLACE_AGAIN_MS : MOVE_AGAIN_MS
    return problem !== undefined && nowMs - problem.atMs < againMs
  }

  #forget(led: ReadonlyMap<VolumeId, Led>, nowMs: number): void {
    const { isLeaving } = this.#options
    for (const volume of this.#problems.keys()) {
      const { members, progress } = led.get(volume) ?? { members: [], progress: [] }
      if (!members.some(({ host }) => isLeaving(host)) && !progress.some(({ state }) => state === 'away'))
        this.#problems.delete(volume)
    }
    for (const [volume, { atMs }] of this.#inherited)
      if (nowMs - atMs > HEIR_FORGETS_MS) this.#inherited.delete(volume)
  }

  close(): Promise<void> {
    return this.#changes.close()
  }

  /** What nobody asked for; the first step, behind which it goes on by itself. */
  #begin(volume: VolumeId, leaves: HostId): void {
    const { log, changed } = this.#options
    this.#beginning.add(volume)
    const end = (): void => {
      this.#beginning.delete(volume)
    }
    this.#move(volume, leaves).then(
      () => {
        end()
        this.#problems.delete(volume)
        changed()
      },
      (error: unknown) => {
        end()
        if (isCloudfsError(error)) {
          this.#failed(volume, error)
          log.warn({ volume, leaves, err: error }, 'no other host takes its place')
        } else log.error({ err: error }, 'a bug')
      },
    )
  }

  /** Looks once more: what was to be done may have been done by somebody else. */
  async #move(volume: VolumeId, leaves: HostId): Promise<void> {
    const { host, engine, handOver, isLeaving, log } = this.#options
    const [status] = await engine.result('volumes', { volume })
    if (status?.role !== 'primary') return
    const { members, progress, mode } = ledOf(status)
    const member = members.find((each) => each.host === leaves)
    if (member === undefined) return
    const isMissed = member.role === 'data' || isDegraded(members)
    if (!isMissed || this.#inherited.get(volume)?.leaves === leaves)
      return this.#changes.begin(volume, { leaves })
    const isInStep = (store: StoreId): boolean =>
      progress.some((each) => each.store === store && each.state === 'in-step')
    const heir = members.find(
      (each) => each.host !== host && each.role === 'data' && !isLeaving(each.host) && isInStep(each.store),
    )
    // Who leads then replaces this host.
    if (leaves === host && heir !== undefined && mode !== 'local') return handOver(volume, heir.host)
    const learner = members.find(
      (each) => each.role === 'learner' && each.host !== leaves && !isLeaving(each.host),
    )
    const stay = members.filter((each) => each.host !== leaves)
    const not = members.map((each) => each.host)
    const joins = learner ?? (await this.#choose(stay, status.sizeBytes, { not }))
    log.warn({ volume, leaves, joins: joins.host }, 'a host is gone or is to go: another takes its place')
    await this.#changes.begin(volume, { joins: { host: joins.host, store: joins.store }, leaves })
  }

  #failed(volume: VolumeId, { code, message }: Problem): void {
    this.#problems.set(volume, { code, message, atMs: performance.now() })
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
    const needBytes = firstBytesOf(sizeBytes)
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

/** A witness is one from the volume's creation on. */
function witnessStays(volume: string, host: string): SetChangeError {
  return new SetChangeError(
    `host ${host} is the witness of volume ${volume}: no other can take its place; cloudfs remove-replica has the volume go on without one`,
    { volume, host },
  )
}

function ledOf(status: VolumeStatus): Led {
  const { members } = viewOf(status)
  return {
    mode: status.mode,
    members: members.map(({ host, store, role }) => ({ host, store, role })),
    progress: status.members ?? [],
  }
}

function firstBytesOf(sizeBytes: number): number {
  return Math.min(sizeBytes, FIRST_BYTES_MAX)
}
