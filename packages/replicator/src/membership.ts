/**
 * Who keeps a volume: replicas that are added, replaced, removed, at an operator's word or because a host has been gone for
 * long. The primary does it, in steps of which each is one change of the set (M1): who joins learns first, and votes when it
 * has everything, in another's place. What is wished is forgotten when the volume gets another primary; a learner that is
 * left over takes the place of a member that is gone, or stays until somebody says what it is for.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Answer } from '@cloudfs/http'
import {
  bytesToHex,
  HostId,
  isCloudfsError,
  NotPrimaryError,
  StoreId,
  VolumeId,
  type VolumeStatus,
} from '@cloudfs/interface'
import type { PeerNode } from '@cloudfs/peers'
import { type HostCandidate, placeReplicas } from '@cloudfs/placement'
import { type Member, sameMembers, type SetChange } from '@cloudfs/protocol'
import type { Logger } from 'pino'
import type { Catalogue } from './catalogue.js'
import type { CreationEffects } from './creation.js'
import type { EngineSupervisor } from './engine-supervisor.js'
import { LastReplicaError, NotMemberError } from './errors.js'
import { viewOf } from './held-volumes.js'
import { askSet } from './set-requests.js'

/** A step is an election and a hand-over at most. */
const STEP_TIMEOUT_MS = 25_000
/** Between two looks at how far a learner is. */
const LOOK_MS = 250
/** Behind a step that failed. */
const RETRY_MS = 1_000
/** Another member may stand at the same time, and then nobody has its way. */
const CHANGE_TRIES = 3
/** Where nobody could take the place of a member that is gone, it is tried again behind this. */
const REBUILD_AGAIN_MS = 30_000
/** Learners that are brought up by this host at once without anybody having asked for it. */
const REBUILDS_MAX = 4
/** Room that a new replica needs at first: volumes are thin. */
const FIRST_BYTES_MAX = 64 * 1024 ** 2

/** A member, wherever it stands. */
type Place = { readonly host: HostId; readonly store: StoreId }

interface Wish {
  readonly joins: Place
  readonly leaves?: HostId | undefined
}

interface WishOrLess extends Omit<Wish, 'joins'> {
  readonly joins?: Place | undefined
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
  readonly log: Logger
}

export class Membership {
  readonly #options: MembershipOptions
  readonly #wishes = new Map<VolumeId, Wish>()
  readonly #running = new Set<Promise<void>>()
  /** Since when a member has been away, by volume and store, as far as this process knows. */
  readonly #awayMs = new Map<string, number>()
  /** When that was tried last. */
  readonly #triedMs = new Map<VolumeId, number>()
  readonly #stop = new AbortController()

  constructor(options: MembershipOptions) {
    this.#options = options
    options.peers.handle(askSet, async (asked) => {
      await this.#begin(asked.volume, asked)
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
    const now = performance.now()
    const away = new Set<string>()
    for (const status of volumes) {
      if (status.role !== 'primary' || status.deletionCommitted || !status.established) continue
      for (const { host, store, state } of status.members ?? []) {
        if (state !== 'away') continue
        const name = `${status.volume} ${store}`
        away.add(name)
        const since = this.#awayMs.get(name) ?? now
        this.#awayMs.set(name, since)
        const isVoter = viewOf(status).members.some((each) => each.store === store && each.role === 'data')
        if (!isVoter || now - since < this.#options.replaceAfterMs) continue
        if (this.#wishes.has(status.volume) || this.#wishes.size >= REBUILDS_MAX) continue
        if (now - (this.#triedMs.get(status.volume) ?? Number.NEGATIVE_INFINITY) < REBUILD_AGAIN_MS) continue
        this.#triedMs.set(status.volume, now)
        this.#rebuild(status, host)
      }
    }
    for (const name of this.#awayMs.keys()) if (!away.has(name)) this.#awayMs.delete(name)
    for (const [volume, ms] of this.#triedMs) if (now - ms >= REBUILD_AGAIN_MS) this.#triedMs.delete(volume)
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error('the node stops'))
    await Promise.all(this.#running)
  }

  #rebuild({ volume, sizeBytes, ...status }: VolumeStatus, gone: HostId): void {
    const { log } = this.#options
    const { members } = viewOf({ volume, sizeBytes, ...status })
    const learner = members.find(({ role }) => role === 'learner')
    const begin = async (): Promise<void> => {
      const stay = members.filter(({ host }) => host !== gone)
      const not = members.map(({ host }) => host)
      const joins = learner ?? (await this.#choose(stay, sizeBytes, { not }))
      log.warn({ volume, gone, joins: joins.host }, 'a replica is gone: another takes its place')
      await this.#begin(volume, { joins: { host: joins.host, store: joins.store }, leaves: gone })
    }
    begin().catch((error: unknown) => {
      if (isCloudfsError(error)) log.warn({ volume, gone, err: error }, 'no other host takes its place')
      else log.error({ err: error }, 'a bug')
    })
  }

  async #ask(volume: VolumeId, primary: HostId, wish: WishOrLess): Promise<void> {
    const { host, peers } = this.#options
    if (primary === host) return this.#begin(volume, wish)
    const { joins, leaves } = wish
    const message = { volume, ...(joins && { joins }), ...(leaves !== undefined && { leaves }) }
    await peers.request(primary, askSet, message, { timeoutMs: STEP_TIMEOUT_MS })
  }

  /** The first step, which tells whether it can be done at all; the others follow by themselves. */
  async #begin(volume: VolumeId, { joins, leaves }: WishOrLess): Promise<void> {
    if (joins === undefined) {
      if (leaves !== undefined) await this.#leave(volume, leaves)
      return
    }
    const members = await this.#members(volume)
    if (!members.some(({ store }) => store === joins.store))
      await this.#change(volume, members, [...members, { ...joins, role: 'learner' }])
    const isNew = !this.#wishes.has(volume)
    this.#wishes.set(volume, { joins, ...(leaves !== undefined && { leaves }) })
    if (!isNew) return
    const running = this.#drive(volume).finally(() => {
      this.#wishes.delete(volume)
      this.#running.delete(running)
    })
    this.#running.add(running)
  }

  async #drive(volume: VolumeId): Promise<void> {
    const { log } = this.#options
    const { signal } = this.#stop
    for (;;) {
      let pauseMs = LOOK_MS
      try {
        const wish = this.#wishes.get(volume)
        if (wish === undefined || (await this.#step(volume, wish))) return
      } catch (error) {
        if (signal.aborted) return
        if (!isCloudfsError(error)) {
          log.error({ volume, err: error }, 'a bug')
          return
        }
        log.info({ volume, err: error }, 'the set is changed later')
        if (error instanceof NotPrimaryError) return
        pauseMs = RETRY_MS
      }
      await delay(pauseMs, undefined, { signal }).catch(() => undefined)
      if (signal.aborted) return
    }
  }

  /** @returns whether nothing is left to do */
  async #step(volume: VolumeId, { joins, leaves }: Wish): Promise<boolean> {
    const { host, log } = this.#options
    const members = await this.#members(volume)
    const joined = members.find(({ store }) => store === joins.store)
    if (joined === undefined) return true
    if (joined.role === 'learner') {
      if (!(await this.#isInStep(volume, joins))) return false
      // This host goes once another leads.
      const stay = members.filter((each) => each.host !== leaves || each.host === host)
      const to = stay.map((each) => (each.store === joins.store ? { ...each, role: 'data' as const } : each))
      await this.#change(volume, members, to)
      log.info({ volume, joins: joins.host, leaves }, 'a new replica votes')
    }
    if (leaves !== undefined) await this.#leave(volume, leaves, joins.host)
    return true
  }

  /** @param heir - leads if this host is the one that goes */
  async #leave(volume: VolumeId, leaves: HostId, heir?: HostId): Promise<void> {
    const { host, handOver } = this.#options
    const members = await this.#members(volume)
    if (!members.some((each) => each.host === leaves)) return
    if (leaves !== host) {
      await this.#change(
        volume,
        members,
        members.filter((each) => each.host !== leaves),
      )
      return
    }
    const next = heir ?? members.find((each) => each.host !== host && each.role === 'data')?.host
    if (next === undefined) throw new LastReplicaError(`nobody else keeps volume ${volume}`, { volume })
    await handOver(volume, next)
    await this.#ask(volume, next, { leaves })
  }

  async #change(volume: VolumeId, from: readonly Member[], to: readonly Member[]): Promise<void> {
    if (sameMembers(from, to)) return
    for (let left = CHANGE_TRIES; ;) {
      try {
        await this.#options.changeSet(volume, { from, to })
        return
      } catch (error) {
        if (!isCloudfsError(error) || --left === 0) throw error
        this.#options.log.info({ volume, err: error }, 'the set is changed at another try')
        await delay(RETRY_MS, undefined, { signal: this.#stop.signal })
        const now = await this.#members(volume)
        if (sameMembers(now, to)) return
        if (!sameMembers(now, from)) throw error
      }
    }
  }

  async #status(volume: VolumeId): Promise<VolumeStatus> {
    const [status] = await this.#options.engine.result('volumes', { volume })
    if (status?.role !== 'primary')
      throw new NotPrimaryError(`this host does not lead volume ${volume}`, { volume })
    return status
  }

  async #members(volume: VolumeId): Promise<Member[]> {
    const { members } = viewOf(await this.#status(volume))
    return members.map(({ host, store, role }) => ({ host, store, role }))
  }

  async #isInStep(volume: VolumeId, { store }: Place): Promise<boolean> {
    const { members = [] } = await this.#status(volume)
    return members.some((each) => each.store === store && each.state === 'in-step')
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
