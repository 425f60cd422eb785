/**
 * Who leads the volumes that this host holds: stands for those that nobody leads, answers other hosts that stand, and has
 * the engine follow who has won. It keeps nothing that matters: the engine's promises do (docs/protocol.md).
 */
import {
  type CloudfsError,
  type CoreEvent,
  type Foresight,
  EPOCH_NONE,
  type Epoch,
  type HostId,
  isCloudfsError,
  JoinedSignal,
  Stamp,
  type Standing,
  type VolumeId,
  UnknownVolumeError,
} from '@cloudfs/interface'
import { ForceError, HandOverError, NotTheCandidateError, SetChangeError } from '../errors.js'
import { stand } from './candidacy.js'
import type { Candidate, Outcome, SetChange } from './candidate.js'
import {
  epochFor,
  expectHand,
  HAND_OVER_MS,
  handOver,
  type HandedOver,
  prepare,
  syncToTheEnd,
  takeOver,
} from './hand-over.js'
import { force } from './force.js'
import { Keeper } from './keeper.js'
import type { Heard, ViewPorts, ViewRequest, ViewRequests } from './ports.js'
import { checkResignation } from './resignation.js'
import { changeSet } from './set-change.js'
import { hostsOf, isPassed, viewsOf } from './sets.js'
import { giveSlice } from './slices.js'
import { Slots, type Standing as Place } from './slots.js'

/** Members stand one after the other, so that the first has won before the next begins. */
const RANK_DELAY_MS = 60
const JITTER_MS = 30
const RETRY_MS_MIN = 60
const RETRY_MS_MAX = 2_000
/** A host without a lease, its own or another's, asks around so often. */
const LOOK_AGAIN_MS = 1_000
/** Whoever was asked to stand has won by then, or will not. */
const DEFER_MS = 1_000
/** A set is changed by then, or as it was: a learner that is to vote may have a little to catch up. */
const CHANGE_MS = 10_000
/** Questions to members that are gone, and an election of one. */
const FORCE_MS = 10_000

/** How long something may take, and what it fails with then. */
interface Limit {
  readonly ms: number
  readonly late: CloudfsError
}

export class Views {
  readonly #ports: ViewPorts
  readonly #keepers = new Map<VolumeId, Keeper>()
  readonly #stop = new AbortController()
  readonly #running = new Set<Promise<void>>()
  readonly #slots: Slots
  /** Until then this host stands only if all members answer, where nobody has led: it may have been away for long. */
  #patientUntilMs = 0

  /** The engine's store has just started, or is about to. */
  constructor(ports: ViewPorts) {
    this.#ports = ports
    this.#slots = new Slots(ports.clock)
    this.onStarted()
  }

  /** The engine's store has started, again perhaps. */
  onStarted(): void {
    const { clock, patientMs } = this.#ports
    this.#patientUntilMs = clock.nowMs() + patientMs
    for (const keeper of this.#keepers.values()) keeper.wasLed = false
  }

  /** This host holds the volume, as a member with data. */
  add(volume: VolumeId): void {
    if (this.#keepers.has(volume)) return
    this.#keepers.set(volume, new Keeper(this.#ports))
    // What the engine told before is not known here.
    this.#ports.run(
      this.#ports.clock.sleep(LOOK_AGAIN_MS + this.#random(LOOK_AGAIN_MS), this.#stop.signal).then(
        () => {
          this.seek(volume)
        },
        () => undefined,
      ),
    )
  }

  /** It holds it no longer. */
  remove(volume: VolumeId): void {
    // Whoever asked this host to take over hears why not.
    const gone = new UnknownVolumeError(`volume ${volume} is kept here no longer`, { volume })
    this.#keepers.get(volume)?.abort?.abort(gone)
    this.#keepers.delete(volume)
  }

  /** Nobody that this host knows of leads the volume: it stands, unless it learns otherwise. */
  seek(volume: VolumeId): void {
    const keeper = this.#keepers.get(volume)
    if (keeper === undefined || this.#stop.signal.aborted) return
    keeper.calls++
    if (keeper.abort !== undefined) return
    const own = new JoinedSignal([this.#stop.signal])
    keeper.abort = own
    const { signal } = own
    const running = this.#seek(volume, keeper, signal)
      .catch((error: unknown) => {
        if (!signal.aborted) throw error
      })
      .finally(() => {
        if (keeper.abort === own) keeper.abort = undefined
        own[Symbol.dispose]()
        this.#running.delete(running)
      })
    keeper.running = running
    this.#running.add(running)
  }

  /** What the engine tells. */
  onEvent(event: CoreEvent): void {
    switch (event.name) {
      case 'lease-over':
        for (const volume of event.detail.volumes) this.seek(volume)
        break
      case 'epoch-refused': {
        const { volume, promised } = event.detail
        const keeper = this.#keepers.get(volume)
        if (keeper !== undefined) keeper.refused = promised
        this.seek(volume)
        break
      }
      case 'lease-lost':
      case 'lease-back': {
        const keeper = this.#keepers.get(event.detail.volume)
        if (keeper === undefined) break
        keeper.hasLostLease = event.name === 'lease-lost'
        if (keeper.hasLostLease) this.seek(event.detail.volume)
        break
      }
      case 'adopted':
        this.#keepers.get(event.detail.volume)?.told.put({ adopted: event.detail })
        break
      case 'leading':
        this.#keepers.get(event.detail.volume)?.told.put({ leading: event.detail.epoch })
        break
      case 'stepped-down': {
        const keeper = this.#keepers.get(event.detail.volume)
        if (keeper === undefined) break
        keeper.hasLostLease = false
        keeper.told.put({ outbid: event.detail.promised })
        // Whoever has won calls this host; it may not hear that.
        this.seek(event.detail.volume)
        break
      }
      default:
    }
  }

  /** Answers another host. @throws what the engine refuses with */
  async answer<Name extends ViewRequest>(
    name: Name,
    body: ViewRequests[Name]['body'],
    caller: HostId,
  ): Promise<ViewRequests[Name]['answer']> {
    const answers: Answers = {
      foresee: ({ volume, epoch }) => this.#foresee(volume, epoch),
      promise: async ({ volume, epoch, resigned }) => {
        if (resigned !== undefined)
          checkResignation(volume, resigned, this.#ports.peers.publicKeyOf(resigned.epoch.host))
        const standing = await this.#ports.engine.promise(volume, epoch, { resigned: resigned?.epoch })
        this.#keepers.get(volume)?.favour(epoch.host)
        return this.#heard(volume, standing)
      },
      slice: (asked) => giveSlice(this.#ports, asked),
      follow: async ({ volume, epoch, way }) => {
        await this.#yield(volume, epoch)
        await this.#ports.follow(volume, epoch.host, way)
        return {}
      },
      stand: ({ volume }) => {
        this.#standSoon(volume)
        return Promise.resolve({})
      },
      ready: async ({ volume, next }) => {
        const [pad] = await Promise.all([this.#prepare(volume, next), syncToTheEnd(this.#ports)])
        return pad === undefined ? {} : { pad }
      },
      take: async ({ volume, head, stamp, resigned, promise }) => {
        if (resigned.epoch.host !== caller)
          throw new NotTheCandidateError(`host ${caller} hands over an epoch of host ${resigned.epoch.host}`)
        await this.#take(volume, { head, stamp: Stamp.parse(stamp), resigned, promise })
        return {}
      },
    }
    if ('epoch' in body && body.epoch.host !== caller) {
      throw new NotTheCandidateError(`host ${caller} asks for an epoch of host ${body.epoch.host}`)
    }
    return answers[name](body)
  }

  /**
   * Has another host lead in this one's stead (H1). From the engine's resignation on there is no way back: if that host
   * cannot lead, whoever stands first does.
   *
   * @throws {HandOverError} it does not lead; or what this host's engine refuses with: it leads on
   */
  async handOver(volume: VolumeId, to: HostId): Promise<void> {
    const keeper = this.#keepers.get(volume)
    if (keeper === undefined) throw new HandOverError(`nothing of volume ${volume} is here`, { volume })
    const next = await epochFor(this.#candidate(volume, keeper, this.#stop.signal), to)
    const late = new HandOverError(`host ${to} does not lead volume ${volume} in time`, { volume, host: to })
    await this.#alone(volume, keeper, { ms: 2 * HAND_OVER_MS, late }, async (candidate) => {
      // This host, whose own lease keeps it from nothing, would else be the first to stand.
      keeper.favour(to)
      await handOver(candidate, next)
    })
  }

  /**
   * Has the volume's set changed, this host, its primary, leading on (M1). Clients notice a pause. One that joins is a
   * learner until it has everything.
   *
   * @throws {SetChangeError} the set is as it was, or another host leads and the change may be carried out yet
   */
  async changeSet(volume: VolumeId, change: SetChange): Promise<void> {
    const keeper = this.#keepers.get(volume)
    if (keeper === undefined) throw new SetChangeError(`nothing of volume ${volume} is here`, { volume })
    const late = new SetChangeError(`the set of volume ${volume} is not changed in time`, { volume })
    const limit = { ms: CHANGE_MS, late }
    const outcome = await this.#alone(volume, keeper, limit, (candidate) => changeSet(candidate, change))
    this.#ports.log({ volume, message: `set changed: ${outcome.result}`, detail: outcome })
    if (outcome.result === 'leads') return
    throw new SetChangeError(`the set of volume ${volume} is not changed: ${whyOf(outcome)}`, { volume })
  }

  /**
   * Has this host go on alone with what it has, the volume's majority being lost for good: an operator's word, never its own.
   *
   * @throws {ForceError} it is not needed, or not for this host
   */
  async force(volume: VolumeId): Promise<void> {
    const keeper = this.#keepers.get(volume)
    if (keeper === undefined) throw new ForceError(`nothing of volume ${volume} is here`, { volume })
    const late = new ForceError(`volume ${volume} is not led by this host in time`, { volume })
    if (keeper.isForced) throw new ForceError(`volume ${volume} is being forced`, { volume })
    const forcing = this.#alone(volume, keeper, { ms: FORCE_MS, late }, force)
    keeper.isForced = true
    const outcome = await forcing.finally(() => {
      keeper.isForced = false
    })
    this.#ports.log({ volume, message: `forced: ${outcome.result}`, detail: outcome })
    if (outcome.result !== 'leads')
      throw new ForceError(`volume ${volume} is not led by this host: ${whyOf(outcome)}`, { volume })
  }

  /** Ends what is under way. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the node stops'))
    await Promise.all(this.#running)
  }

  /** Two that stand at once would only outbid each other. This is of the pre-vote: a promise is asked of the engine alone. */
  async #foresee(volume: VolumeId, epoch: Epoch): Promise<Foresight & Heard> {
    const foresight = await this.#ports.engine.wouldPromise(volume, epoch)
    const waitMs = this.#keepers.get(volume)?.againstMs(epoch.host) ?? 0
    const told = this.#heard(volume, foresight)
    if (waitMs === 0) return told
    return { ...told, would: false, remainingMs: Math.max(waitMs, foresight.remainingMs) }
  }

  /** With what this host has heard besides, whose store was left out. */
  #heard<Told extends Standing>(volume: VolumeId, told: Told): Told & Heard {
    const passedBy = this.#keepers.get(volume)?.passedBy
    return isPassed(told, [{ passedBy }]) ? { ...told, passedBy } : told
  }

  /** A volume that this host has come to hold may not have been added yet. */
  #keeperOf(volume: VolumeId): Keeper | undefined {
    this.add(volume)
    return this.#keepers.get(volume)
  }

  /** @returns what the primary's engine is to know, so that it tells this host's */
  async #prepare(volume: VolumeId, next: Epoch): Promise<string | undefined> {
    const keeper = this.#keeperOf(volume)
    if (keeper === undefined || next.host !== this.#ports.host) return undefined
    const candidate = this.#candidate(volume, keeper, this.#stop.signal)
    const prepared = await prepare(candidate, next)
    keeper.prepared = prepared
    if (prepared === undefined) return undefined
    const { stamp, payload } = prepared.view
    const members = hostsOf([payload.members])
    await this.#ports.expectLead?.({ volume, epoch: next, stamp, members })
    return expectHand(candidate, prepared)
  }

  async #take(volume: VolumeId, given: HandedOver): Promise<void> {
    const keeper = this.#keeperOf(volume)
    if (keeper === undefined) throw new HandOverError(`nothing of volume ${volume} is here`, { volume })
    const late = new HandOverError(`volume ${volume} is not led by this host in time`, { volume })
    const limit = { ms: HAND_OVER_MS, late }
    const { prepared } = keeper
    keeper.prepared = undefined
    const outcome = await this.#alone(volume, keeper, limit, (candidate) =>
      takeOver(candidate, given, prepared),
    )
    this.#ports.log({ volume, message: `handed over: ${outcome.result}`, detail: outcome })
    if (outcome.result !== 'leads')
      throw new HandOverError(`volume ${volume} is not led by this host: ${whyOf(outcome)}`, { volume })
  }

  /** No other try is made meanwhile; what calls for one has it afterwards. */
  async #alone<T>(
    volume: VolumeId,
    keeper: Keeper,
    limit: Limit,
    work: (candidate: Candidate) => Promise<T>,
  ): Promise<T> {
    if (keeper.isForced) throw new HandOverError(`volume ${volume} is about to go on by force`, { volume })
    const wasSeeking = keeper.abort !== undefined
    keeper.abort?.abort(new HandOverError('the volume is handed over, or its set changed'))
    const own = new AbortController()
    keeper.abort = own
    const { calls } = keeper
    try {
      // What it has asked the engine for is not to come behind what is asked for now.
      await keeper.running
      return await this.#within(limit, own.signal, (signal) => work(this.#candidate(volume, keeper, signal)))
    } finally {
      if (keeper.abort === own) keeper.abort = undefined
      // What was ended for it may be needed still.
      if (wasSeeking || keeper.calls !== calls) this.seek(volume)
    }
  }

  /** What it gets is cut short behind that time by the host's clock, by the other signal, and when this closes. */
  async #within<T>(
    { ms, late }: Limit,
    other: AbortSignal,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    using over = new JoinedSignal([other, this.#stop.signal])
    using done = new JoinedSignal([this.#stop.signal])
    this.#ports.clock.sleep(ms, done.signal).then(
      () => {
        over.abort(late)
      },
      () => undefined,
    )
    try {
      return await run(over.signal)
    } finally {
      done.abort()
    }
  }

  #candidate(volume: VolumeId, keeper: Keeper, signal: AbortSignal): Candidate {
    return {
      ports: this.#ports,
      volume,
      told: keeper.told,
      heard: { passedBy: keeper.passedBy },
      signal,
      onStand: () => {
        keeper.favour(this.#ports.host)
      },
    }
  }

  /** Whoever leads in an earlier epoch does so no longer. Where a lease runs, the winner's stream brings the promise. */
  async #yield(volume: VolumeId, epoch: Epoch): Promise<void> {
    try {
      await this.#ports.engine.promise(volume, epoch)
    } catch (error) {
      if (!isCloudfsError(error)) throw error
    }
  }

  #standSoon(volume: VolumeId): void {
    this.#keepers.get(volume)?.hurry()
    this.seek(volume)
  }

  async #seek(volume: VolumeId, keeper: Keeper, signal: AbortSignal): Promise<void> {
    const { log } = this.#ports
    let retryMs = RETRY_MS_MIN
    let mayDefer = true
    const rankMs = await this.#turnMs(volume)
    const turnMs = Math.max(rankMs, keeper.againstMs(this.#ports.host))
    await keeper.pause(turnMs + this.#random(JITTER_MS), signal)
    for (;;) {
      const place = keeper.isUrgent ? 0 : retryMs > RETRY_MS_MIN ? 2 : Number(rankMs > 0)
      const leave = await this.#enter({ volume, place, isForward: rankMs === 0 }, keeper, signal)
      keeper.calm()
      const { calls } = keeper
      const outcome = await this.#try(volume, keeper, mayDefer, signal).finally(leave)
      keeper.wasCutOff = outcome.result === 'failed' && outcome.isCutOff === true
      if (outcome.result !== 'failed') keeper.refused = undefined
      else keeper.favourOthers()
      log({ volume, message: outcome.result, detail: outcome })
      switch (outcome.result) {
        // The engine tells when either is over; whoever has no lease looks around until it has one.
        case 'leads':
        case 'is-led':
          keeper.wasLed = true
          retryMs = RETRY_MS_MIN
          if (outcome.result === 'leads' ? !keeper.hasLostLease : outcome.isGranted) {
            if (keeper.calls === calls) return
          } else {
            await keeper.pause(LOOK_AGAIN_MS + this.#random(LOOK_AGAIN_MS), signal)
          }
          break
        case 'not-a-member':
          keeper.passedBy = outcome.passedBy ?? keeper.passedBy
          return
        case 'deferred':
          mayDefer = false
          await keeper.pause(DEFER_MS, signal)
          break
        case 'failed':
          mayDefer = true
          await keeper.pause(Math.max(retryMs, outcome.afterMs) + this.#random(retryMs), signal)
          retryMs = Math.min(RETRY_MS_MAX, 2 * retryMs)
          break
      }
    }
  }

  /** Waits for its turn among this host's volumes. @returns what ends it */
  async #enter(standing: Place, keeper: Keeper, signal: AbortSignal): Promise<() => void> {
    for (;;) {
      const mustWait = this.#slots.isFull
      const entered = this.#slots.enter(standing, signal)
      if (mustWait) this.#ports.run(this.#slots.mind(this.#stop.signal))
      const leave = await entered
      // Another may have begun to stand for it meanwhile.
      const favourMs = mustWait && !keeper.isUrgent ? keeper.againstMs(this.#ports.host) : 0
      if (favourMs === 0) return leave
      leave()
      await keeper.pause(favourMs, signal)
    }
  }

  async #try(volume: VolumeId, keeper: Keeper, mayDefer: boolean, signal: AbortSignal): Promise<Outcome> {
    try {
      const { refused, hasLostLease, wasCutOff } = keeper
      return await stand(this.#candidate(volume, keeper, signal), {
        mayDefer,
        hasLostLease,
        wasCutOff,
        isPatient: !keeper.wasLed && this.#ports.clock.nowMs() < this.#patientUntilMs,
        ...(refused && { refused }),
      })
    } catch (error) {
      // The world's refusals: another was faster, the engine stops, a history cannot be had.
      if (!isCloudfsError(error)) throw error
      if (error.code === 'ERR_NOT_MEMBER') return { result: 'not-a-member' }
      return { result: 'failed', why: `${error.code}: ${error.message}`, afterMs: 0 }
    }
  }

  /** In the order of the view's members, its primary last: that one is the likeliest to be gone. */
  async #turnMs(volume: VolumeId): Promise<number> {
    const { engine, host } = this.#ports
    const own = await engine.wouldPromise(volume, EPOCH_NONE).catch((error: unknown) => {
      if (isCloudfsError(error)) return undefined
      throw error
    })
    if (own === undefined) return 0
    const view = viewsOf(own).at(-1)
    if (view === undefined) return 0
    const order = view.members
      .filter(({ role }) => role === 'data')
      .map((member) => member.host)
      .sort((a, b) => Number(a === view.primary) - Number(b === view.primary))
    // Who was primary itself has nobody's lease to wait for.
    return view.primary === host ? 0 : Math.max(0, order.indexOf(host)) * RANK_DELAY_MS
  }

  #random(below: number): number {
    const [byte = 0] = this.#ports.randomBytes(1)
    return (byte / 256) * below
  }
}

function whyOf(outcome: Outcome): string {
  return outcome.result === 'failed' ? outcome.why : outcome.result
}

type Answers = {
  [Name in ViewRequest]: (body: ViewRequests[Name]['body']) => Promise<ViewRequests[Name]['answer']>
}
