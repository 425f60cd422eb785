/**
 * Hosts with their cores, what lies between them, and who decides: everything of a run but its clients and its faults.
 * Nothing happens but by the schedule.
 */
import { encodeCreate, padPayload } from '@cloudfs/format'
import {
  bytesToHex,
  type CoreCommands,
  type CoreEvent,
  type CoreVerb,
  HostId,
  StoreId,
  type VolumeId,
} from '@cloudfs/interface'
import { newView, type Wish } from '@cloudfs/protocol'
import type { Plant, SimAnswer, SimEffects, SimReply } from '@cloudfs/native'
import { CommitRule } from './checkers/commit-rule.js'
import { OneHistory } from './checkers/one-history.js'
import { Coverage } from './coverage.js'
import { type Down, Host, type HostListener } from './host.js'
import { Keeper } from './keeper.js'
import { Keys } from './keys.js'
import { Log, type LogLevel } from './log.js'
import type { Mode } from './mode.js'
import { Network } from './network.js'
import { type Policy, type PolicyMaker, portsOf } from './policy.js'
import { type Random, randomFrom, within } from './random.js'
import { MILLISECOND, Schedule, SECOND } from './schedule.js'
import { Sets } from './sets.js'
import { epochName, type SentFrame, Streams } from './streams.js'

/** Small, so that writes soon go round the store, and checkpoints come often. */
const SEGMENT_LOG2 = 16

export interface ClusterOptions {
  readonly seed: number
  readonly hostCount: number
  /** The first so many keep the volume at first. */
  readonly memberCount: number
  /** The last of those is a witness. */
  readonly hasWitness: boolean
  /** A member that has been away this long is replaced. */
  readonly replaceAfterNs: number
  readonly segmentCount: number
  /** Of every volume. */
  readonly mode: Mode
  readonly policy: PolicyMaker
  /** Cores take part in elections. */
  readonly elections: boolean
  readonly plant?: Plant | undefined
  readonly level: LogLevel
  readonly sink?: ((line: string) => void) | undefined
}

export interface ClusterListener {
  onReply(reply: SimReply): void
  onDown(host: Host, how: Down): void
  onLoss(host: Host): void
  /** A volume goes on from `lsn`, with what was acknowledged and not flushed behind it lost (R3). */
  onRestart(volume: VolumeId, lsn: number): void
  /** An operator has it go on from there: whatever only others had is lost. */
  onForced?(volume: VolumeId, lsn: number): void
  onVolume(volume: VolumeId): void
  /** A host is about to make a view of another set. */
  onSetChange?(host: Host): void
  /** A host has answered another's question (`ViewRequests`). */
  onAnswered(host: Host, name: string, caller: Host): void
}

/** An election that is to restart a volume has that behind it by then. */
const RESTART_NS_MAX = 4 * SECOND

/** Flag of an `ack` frame (docs/wire-protocol.md). */
const FRAME_RECOVERING = 1
/** Of `hand`. */
const FRAME_ON_DISK = 1
/** Where the commit point stands in a hello (docs/wire-protocol.md). */
const HELLO_COMMIT_LSN = 124

/** The epoch in which the receiver of a `hand` is to lead. */
const handedEpoch = (payload: Buffer): { counter: number; host: string } => epochAt(payload, 0)
const epochAt = (payload: Buffer, at: number): { counter: number; host: string } => ({
  counter: Number(payload.readBigUInt64LE(at)),
  host: payload.toString('hex', at + 8, at + 28),
})

const hostIdOf = (index: number): HostId => HostId.parse(`1${String(index)}`.repeat(20))
const storeIdOf = (index: number): StoreId => StoreId.parse(`a${String(index)}`.repeat(20))

export class Cluster implements HostListener {
  readonly schedule = new Schedule()
  readonly coverage = new Coverage()
  readonly log: Log
  readonly network: Network
  readonly hosts: readonly Host[]
  readonly streams: Streams
  readonly history = new OneHistory()
  readonly options: ClusterOptions
  /** Who keeps the volume. */
  readonly sets: Sets
  /** It keeps no data. */
  readonly witness: Host | undefined
  /** Volumes that were made, and at which host. */
  readonly volumes = new Map<VolumeId, number>()
  /** What must not be and has been, the first of it. */
  fault: { readonly what: string; readonly story: readonly string[] } | undefined
  listener: ClusterListener | undefined
  /** Its disk lies: what it says of that is no fault. */
  rotten: Host | undefined
  /** How long a host that starts from now on is patient. Shorter than nodes have it: much is to happen in a life. */
  patientMs = 200
  readonly #random: Random
  readonly #policies: (Policy | undefined)[]
  readonly #keepers: (Keeper | undefined)[] = []
  readonly #commitRule: CommitRule
  readonly #keys: Keys
  readonly #restarted = new Set<VolumeId>()
  /** Epochs that a primary has promised to another host's core, on disk. */
  readonly #handed = new Set<string>()
  readonly #leaders = new Map<VolumeId, number>()
  readonly #told = new Set<Host>()
  /** When hosts last lost power. */
  readonly #lostPowerNs = new Map<Host, number>()
  #isStirred = false

  constructor(options: ClusterOptions) {
    this.options = options
    const { seed, hostCount } = options
    const { schedule, coverage } = this
    this.#random = randomFrom(seed, 'cluster')
    this.#keys = new Keys(hostCount)
    this.log = new Log(schedule, options.level, options.sink)
    this.network = new Network({ schedule, coverage, hostCount, random: randomFrom(seed, 'network') })
    this.hosts = Array.from(
      { length: hostCount },
      (_, index) =>
        new Host({
          schedule,
          coverage,
          index,
          random: randomFrom(seed, `host ${String(index)}`),
          log: this.log,
          listener: this,
          host: hostIdOf(index),
          store: storeIdOf(index),
          params: {
            segmentLog2: SEGMENT_LOG2,
            segmentLimit: options.segmentCount,
            recordBodyBytesMax: 16 << 10,
            batchBodyBytesMax: 32 << 10,
            checkpointBytes: within(this.#random, 64, 256) << 10,
            syncIntervalNs: 200_000_000,
            elections: options.elections,
            ...(options.plant !== undefined && { plant: options.plant }),
          },
        }),
    )
    this.streams = new Streams({
      schedule,
      coverage,
      log: this.log,
      network: this.network,
      hosts: this.hosts,
      random: randomFrom(seed, 'streams'),
      onFrame: (frame) => {
        this.#onFrame(frame)
      },
      onRefusal: (host, volume, code) => {
        // It guards what is committed, and does its work; but whoever was elected should have had that, unless it is to restart.
        if (code === 'ERR_HISTORY_DIVERGED' && !this.#restarted.has(volume) && !this.#mayRestart)
          this.onFault(`${host.name} meets a history without what is committed, and there was no restart`)
      },
    })
    const first = this.hosts.slice(0, options.memberCount)
    this.witness = options.hasWitness ? first.at(-1) : undefined
    this.#commitRule = new CommitRule(
      first.map(({ index }) => index),
      this.witness?.index,
    )
    this.sets = new Sets(coverage, first)
    this.#policies = this.hosts.map(() => undefined)
    for (const host of this.hosts) host.format()
  }

  host(index: number): Host {
    const host = this.hosts[index]
    if (host === undefined) throw new Error(`there is no host ${String(index)}`)
    return host
  }

  /** Turns of cores, and what was handed to them. */
  get steps(): number {
    return this.hosts.reduce((sum, { steps }) => sum + steps, 0)
  }

  /** Lets things happen until then, or until something must not be. */
  async runUntil(ns: number): Promise<void> {
    while (this.fault === undefined && this.schedule.step(ns)) if (this.#isStirred) await this.#settle()
  }

  /** Lets things happen until `isSo`, for so long at most. @returns whether it came to be */
  async runTill(isSo: () => boolean, withinNs: number): Promise<boolean> {
    const untilNs = this.schedule.nowNs + withinNs
    while (!isSo()) {
      if (this.fault !== undefined || !this.schedule.step(untilNs)) return isSo()
      if (this.#isStirred) await this.#settle()
    }
    return true
  }

  /** Something must not be. */
  onFault(what: string, story: readonly string[] = []): void {
    if (this.fault !== undefined) return
    this.log.story('checker', what)
    this.fault = { what, story }
  }

  command<V extends CoreVerb>(
    index: number,
    verb: V,
    args: CoreCommands[V]['args'],
    done?: (answer: SimAnswer | undefined) => void,
  ): void {
    this.host(index).command(verb, args, done)
  }

  /** A command's answer, by when all went on for it. */
  async ask(index: number, verb: string, args: object, withinNs: number): Promise<SimAnswer | undefined> {
    let answer: SimAnswer | undefined
    let isDone = false
    this.command(index, verb as CoreVerb, args, (given) => {
      answer = given
      isDone = true
    })
    await this.runTill(() => isDone, withinNs)
    return answer
  }

  /** The host that came to lead the volume last. */
  leaderOf(volume: VolumeId): number {
    return this.#leaders.get(volume) ?? this.volumes.get(volume) ?? 0
  }

  /** An operator has another host lead. @param done - is told what came of it, unless the host that leads goes meanwhile */
  handOver(volume: VolumeId, to: number, done: (code: string) => void): void {
    this.#askPolicy(this.leaderOf(volume), (policy) => policy.handOver?.(volume, this.host(to).host), done)
  }

  /** An operator has other hosts keep the volume. @param done - is told what came of the first step, unless the host that leads goes meanwhile */
  changeSet(volume: VolumeId, wish: Wish, done: (code: string) => void): void {
    this.#askPolicy(this.leaderOf(volume), (policy) => policy.changeSet?.(volume, wish), done)
  }

  /** An operator has a host go on alone. @param done - is told what came of it, unless that host goes meanwhile */
  force(volume: VolumeId, at: number, done: (code: string) => void): void {
    this.#askPolicy(at, (policy) => policy.force?.(volume), done)
  }

  /** Something is wished of a set, and not done. */
  get isChanging(): boolean {
    return this.#policies.some((policy) => policy?.isBusy === true)
  }

  #askPolicy(
    index: number,
    ask: (policy: Policy) => Promise<void> | undefined,
    done: (code: string) => void,
  ): void {
    const from = this.host(index)
    const { life } = from
    const isAlive = (): boolean => from.life === life && from.isUp
    this.#stir()
    const policy = this.#policies[from.index]
    const asking = policy && ask(policy)
    if (asking === undefined) {
      done('ERR_ENGINE_GONE')
      return
    }
    asking.then(
      () => {
        if (isAlive()) done('')
      },
      (error: unknown) => {
        if (!isAlive()) return
        const { code } = error as { code?: string }
        if (code === undefined) this.onFault(`${from.name}: ${String((error as Error).stack)}`)
        else done(code)
      },
    )
  }

  /** Has a volume made at host 0, with a replica at each of the first. */
  create(name: string, sizeBytes: number, done?: (answer: SimAnswer | undefined) => void): void {
    const epoch = { counter: 1, host: hostIdOf(0) }
    const nonce = this.#bytes(16)
    const members = this.sets.first.map(({ host, store, index }) => ({
      host,
      store,
      role: index === this.witness?.index ? ('witness' as const) : ('data' as const),
      publicKey: this.#keys.publicKeyOf(index),
    }))
    const { stamp, payload: view } = newView({ nonce, epoch, primary: epoch.host, members }, (count) =>
      this.#bytes(count),
    )
    const payload = encodeCreate({ sizeBytes: BigInt(sizeBytes), mode: this.options.mode, name, nonce, view })
    this.command(0, 'create', { stamp, payload: bytesToHex(padPayload(payload)), epoch }, done)
  }

  // --- What hosts tell -------------------------------------------------------------------------------------------------

  onReply(_host: Host, reply: SimReply): void {
    this.listener?.onReply(reply)
  }

  onEvent(host: Host, event: CoreEvent): void {
    this.coverage.count(`event:${event.name}`)
    switch (event.name) {
      case 'leading':
        this.#leaders.set(event.detail.volume, host.index)
        this.sets.onLeading(epochName(event.detail.epoch))
        break
      case 'hand-taken':
        // E0: the promise of the primary is the other one of the two that it takes.
        if (!this.#handed.has(epochName(event.detail.epoch)))
          this.onFault(`${host.name} leads before the primary has said that its promise is on disk`)
        break
      case 'hand-refused':
        this.coverage.count(`hand:${event.detail.why}`)
        this.log.story(host.name, `is not handed the volume by the other core: ${event.detail.why}`)
        break
      case 'volume-created':
        if (host.index === 0) this.#onVolume(event.detail.volume, host.index)
        break
      case 'head-moved': {
        const { volume, lsn, version } = event.detail
        const fault = this.history.note(host.name, volume, lsn, version)
        if (fault !== undefined) this.onFault(fault)
        break
      }
      case 'history-undone':
        if (!this.#restarted.has(event.detail.volume))
          this.onFault(`${host.name} drops what it knows to be committed, and there was no restart`)
        break
      case 'store-failed':
        if (!host.disk.hasFailed && host !== this.rotten)
          this.onFault(`${host.name} fails: ${JSON.stringify(event.detail)}`)
        break
      case 'block-corrupt':
        if (!this.#mayBeBad(host))
          this.onFault(`${host.name}: a block is corrupt: ${JSON.stringify(event.detail)}`)
        break
      default:
        if ((event.name as string) === 'page-corrupt' && host !== this.rotten)
          this.onFault(`${host.name}: ${event.name}`)
    }
  }

  #mayBeBad(host: Host): boolean {
    return host.disk.hasRotted || host === this.rotten
  }

  onTold(host: Host, event: CoreEvent): void {
    if (event.name === 'ready') this.#onReady(host)
    this.#stir()
    this.#keepers[host.index]?.onEvent(event)
    this.#policies[host.index]?.onEvent(event)
  }

  onSends(host: Host, sends: SimEffects['sends']): void {
    this.streams.onSends(host, sends)
  }

  onCloses(host: Host, streams: readonly number[]): void {
    this.streams.onCloses(host, streams)
  }

  onTurn(host: Host): boolean {
    return this.streams.onTurn(host)
  }

  onDown(host: Host, how: Down): void {
    this.#policies[host.index]?.onDown()
    this.#policies[host.index] = undefined
    if (how === 'power') this.#lostPowerNs.set(host, this.schedule.nowNs)
    this.streams.onDown(host, how === 'power')
    this.listener?.onDown(host, how)
  }

  onLoss(host: Host): void {
    this.listener?.onLoss(host)
  }

  #onReady(host: Host): void {
    this.coverage.count('protocol:host ready')
    const { schedule, network, hosts } = this
    const ports = portsOf(host, {
      schedule,
      coverage: this.coverage,
      network,
      hosts,
      keys: this.#keys,
      random: this.#random,
      policyOf: (index) => this.#policies[index],
      follow: (from, volume, leader) => {
        this.streams.follow(from, volume, leader)
      },
      unfollow: (from, volume) => {
        this.streams.unfollow(from, volume)
      },
      stir: () => {
        this.#stir()
      },
      leaderOf: (from, volume) => this.streams.leaderOf(from, volume),
      replaceAfterMs: this.options.replaceAfterNs / MILLISECOND,
      say: (from, what) => {
        this.log.story(from.name, what)
      },
      onElected: (volume, epoch, head) => {
        const [leader, before] = [
          this.hosts.findIndex((one) => one.host === epoch.host),
          epochName(head.epoch),
        ]
        this.#commitRule.onElected(volume, epochName(epoch), { leader, viewLsn: head.lsn + 1, before })
      },
      onView: (volume, epoch, { members: all }) => {
        const members = all.map(({ host: id, role }) => ({
          index: this.hosts.findIndex((one) => one.host === id),
          isVoter: role !== 'learner',
        }))
        const isAlone = all.filter(({ role }) => role === 'data').length === 1
        if (this.witness !== undefined && isAlone) this.coverage.count('witness:degraded view')
        this.sets.onView(epochName(epoch), members)
        const voters = members.filter(({ isVoter }) => isVoter)
        this.#commitRule.onView(
          volume,
          epochName(epoch),
          voters.map(({ index }) => index),
        )
        if (this.sets.isChange(epochName(epoch))) this.listener?.onSetChange?.(host)
      },
      onDropped: (from) => {
        this.sets.onDropped(from.index)
        this.log.story(from.name, 'has dropped its replica')
      },
      onReplaced: () => {
        this.coverage.count('member:replaced by itself')
      },
      onDegrading: (step) => {
        this.coverage.count(`witness:${step}`)
      },
      onRestart: (from, volume, lsn) => {
        this.coverage.count('protocol:restart view')
        this.log.story(from.name, `restarts the volume from update ${String(lsn)}`)
        this.#goOnFrom(volume, lsn)
        this.listener?.onRestart(volume, lsn)
      },
      onForced: (from, volume, epoch, lsn) => {
        this.coverage.count('protocol:forced view')
        this.log.story(from.name, `goes on alone from update ${String(lsn)}`)
        this.#commitRule.onForced(volume, epochName(epoch))
        this.#goOnFrom(volume, lsn)
        this.listener?.onForced?.(volume, lsn)
      },
      patientMs: this.patientMs,
      isPassedByForce: (from, volume) => this.streams.refusalOf(from, volume) === 'ERR_VIEW_FORCED',
      onAnswered: (by, name, caller) => {
        this.listener?.onAnswered(by, name, caller)
      },
      onBug: (from, error) => {
        this.onFault(`${from.name}: ${error instanceof Error ? String(error.stack) : String(error)}`)
      },
    })
    const policy = this.options.policy(ports)
    this.#keepers[host.index] = new Keeper(ports, 2 ** SEGMENT_LOG2)
    this.#policies[host.index] = policy
    this.#stir()
    policy.onReady()
    for (const [volume, primary] of this.volumes) this.#tell(host, volume, primary)
    this.streams.onReady(host)
  }

  /** So many lost power a while ago that who stands may be about to restart the volume (R3). */
  get #mayRestart(): boolean {
    const sinceNs = this.schedule.nowNs - RESTART_NS_MAX
    return [...this.#lostPowerNs.values()].filter((at) => at > sinceNs).length >= 2
  }

  /** What is behind that may be lost. */
  #goOnFrom(volume: VolumeId, lsn: number): void {
    this.#restarted.add(volume)
    this.#commitRule.lose(volume, lsn)
    this.history.lose(volume, lsn)
  }

  /** What it says of commits is held against what others have said. */
  #onFrame({ host, volume, isOfLeader, name, flags, epoch, payload }: SentFrame): void {
    if (name === 'ack') {
      const [appended, synced] = [payload.readBigUInt64LE(0), payload.readBigUInt64LE(8)]
      if ((flags & FRAME_RECOVERING) !== 0) this.coverage.count('protocol:ack of a recovering replica')
      else this.#commitRule.onAck(volume, epoch, host.index, Number(appended), Number(synced))
    } else if (name === 'hand') {
      if ((flags & FRAME_ON_DISK) === 0) this.#onHand(volume, payload)
      else this.#handed.add(epochName(handedEpoch(payload)))
    } else if (isOfLeader && (name === 'runs' || name === 'commit' || name === 'hello')) {
      // What it knows from before it leads stands in its hello; a witness is told of less afterwards (W6).
      const lsn = Number(payload.readBigUInt64LE(name === 'hello' ? HELLO_COMMIT_LSN : 0))
      const fault = this.#commitRule.onCommit(volume, this.options.mode, lsn)
      this.coverage.count('rule:commit at a majority')
      if (fault !== undefined) this.onFault(`${host.name}: ${fault}`)
    }
  }

  /** The core of the host named goes on from that head by itself, if it can. */
  #onHand(volume: VolumeId, payload: Buffer): void {
    const next = handedEpoch(payload)
    this.#commitRule.onElected(volume, epochName(next), {
      leader: this.hosts.findIndex(({ host }) => host === next.host),
      viewLsn: Number(payload.readBigUInt64LE(28)) + 1,
      before: epochName(epochAt(payload, 36)),
    })
  }

  #onVolume(volume: VolumeId, primary: number): void {
    if (this.volumes.has(volume)) return
    this.volumes.set(volume, primary)
    this.listener?.onVolume(volume)
    for (const host of this.sets.first) this.#tell(host, volume, primary)
  }

  /** Once: an engine remembers what it follows. */
  #tell(host: Host, volume: VolumeId, primary: number): void {
    const policy = this.#policies[host.index]
    if (policy === undefined || this.#told.has(host) || !this.sets.first.includes(host)) return
    this.#told.add(host)
    policy.onVolume(volume, primary)
  }

  #stir(): void {
    this.#isStirred = true
  }

  /** Promises go on until nothing is left that could, before anything else happens. */
  async #settle(): Promise<void> {
    this.#isStirred = false
    await new Promise<void>((resolve) => setImmediate(resolve))
  }

  #bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => within(this.#random, 0, 256))
  }
}
