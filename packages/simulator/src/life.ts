/**
 * One seed: a cluster lives through faults under load, twice; in between and in the end everything is whole again, and must
 * be right: every request is answered, replicas are alike, space is accounted for, and what clients saw is what one disk
 * could have shown them.
 */
import { verifyStore } from '@cloudfs/format'
import { compareEpochs, type VolumeId, type VolumeStatus } from '@cloudfs/interface'
import type { Plant } from '@cloudfs/native'
import { isDegraded } from '@cloudfs/protocol'
import { findFault } from './checkers/linearizability.js'
import { Attachments } from './attachment.js'
import { Clients } from './clients.js'
import { Cluster } from './cluster.js'
import { BLOCK_BYTES, UNITS_PER_BLOCK, writesIn } from './contents.js'
import type { Counts } from './coverage.js'
import { deleteVolume } from './deletion.js'
import { Faults } from './faults.js'
import { Forced } from './forced.js'
import { History } from './history.js'
import type { Host } from './host.js'
import type { LogLevel } from './log.js'
import { Operator } from './operator.js'
import { elections } from './elections.js'
import { viewOf } from './membership.js'
import { fixedPrimary, type PolicyMaker } from './policy.js'
import { randomFrom } from './random.js'
import { readExport } from './read-export.js'
import { rot } from './rot.js'
import { Rotting } from './rotting.js'
import { SetOperator } from './set-operator.js'
import { type Scenario, scenarioOf } from './scenario.js'
import { MILLISECOND, SECOND } from './schedule.js'

/** A life is at least so long. */
const STEPS_MIN = 10_000
const PARTS = 2
/** Each part is cut short there, should nothing move. */
const PART_NS_MAX = 120 * SECOND
/** Once nothing goes wrong any more, everything is well within this. */
const PATIENCE_NS = 30 * SECOND
/** Blocks of the volume that no client uses. */
const SPARE_BLOCKS = 32

/** What a host says of the volume. */
interface Told {
  readonly host: Host
  readonly status: VolumeStatus | undefined
}

/** Who keeps the volume in the end, and how it is. */
interface Agreed {
  readonly status: VolumeStatus
  readonly members: readonly Host[]
}

export interface LifeOptions {
  readonly seed: number
  readonly plant?: Plant | undefined
  readonly policy?: PolicyMaker
  readonly level?: LogLevel
  readonly sink?: (line: string) => void
  readonly scenario?: Partial<Scenario>
}

export interface Report {
  readonly seed: number
  /** What must not have been; undefined: all is well. */
  readonly fault?: string
  /** What led to it. */
  readonly story: readonly string[]
  readonly scenario: Scenario
  readonly steps: number
  readonly simulatedNs: number
  readonly fingerprint: string
  readonly counts: Counts
}

export function live(options: LifeOptions): Promise<Report> {
  return new Life(options).run()
}

class Life {
  readonly #seed: number
  readonly #scenario: Scenario
  readonly #cluster: Cluster
  readonly #history = new History()

  #contents: Buffer | undefined
  /** Hosts that never come back. */
  #gone: ReadonlySet<Host> = new Set()
  /** Of a volume that is about to be forced: the writes that the units are of where it goes on. */
  #held: readonly number[] | undefined

  constructor(options: LifeOptions) {
    this.#seed = options.seed
    const scenario = { ...scenarioOf(options.seed), ...options.scenario }
    // Who leads for ever changes no set; nobody forces or deletes what has one host, or what is attached.
    const mayEnd = scenario.hasElections && scenario.hostCount > 1
    const hasWitness =
      scenario.hasWitness && scenario.hasElections && scenario.hostCount === 3 && scenario.mode !== 'local'
    this.#scenario = {
      ...scenario,
      hasWitness,
      // Operators change sets of data members, and what rots is to be had from all others.
      spareCount: scenario.hasElections && !hasWitness ? scenario.spareCount : 0,
      rotMeanNs: hasWitness ? 0 : scenario.rotMeanNs,
      endsInForce: mayEnd && !hasWitness && scenario.mode !== 'local' && scenario.endsInForce,
      endsInDeletion: mayEnd && scenario.attachmentCount === 0 && scenario.endsInDeletion,
    }
    const { hostCount, mode, segmentCount, spareCount, hasElections, replaceAfterNs } = this.#scenario
    this.#cluster = new Cluster({
      seed: options.seed,
      hostCount: hostCount + spareCount,
      memberCount: hostCount,
      hasWitness,
      replaceAfterNs: spareCount > 0 ? replaceAfterNs : Infinity,
      segmentCount,
      mode,
      policy: options.policy ?? (hasElections ? elections : fixedPrimary),
      elections: hasElections,
      plant: options.plant,
      level: options.level ?? 'none',
      sink: options.sink,
    })
  }

  async run(): Promise<Report> {
    const cluster = this.#cluster
    cluster.log.story('scenario', JSON.stringify(this.#scenario))
    const volume = await this.#prepare()
    if (volume !== undefined) await this.#live(volume)
    if (cluster.fault === undefined) this.#checkHistory()
    for (const host of cluster.hosts) host.close()
    const { fault, coverage, log, schedule } = cluster
    return {
      seed: this.#seed,
      ...(fault !== undefined && { fault: fault.what }),
      story: fault?.story ?? [],
      scenario: this.#scenario,
      steps: cluster.steps,
      simulatedNs: schedule.nowNs,
      fingerprint: log.fingerprint,
      counts: coverage.counts,
    }
  }

  async #prepare(): Promise<VolumeId | undefined> {
    const cluster = this.#cluster
    const areReady = await cluster.runTill(() => cluster.hosts.every(({ isReady }) => isReady), PATIENCE_NS)
    if (!areReady) {
      this.#fail('a new host does not become ready')
      return undefined
    }
    let isMade = false
    const sizeBytes = (this.#scenario.blockCount + SPARE_BLOCKS) * BLOCK_BYTES
    cluster.create('disk', sizeBytes, (answer) => {
      isMade = answer?.errorCode === ''
    })
    if (!(await cluster.runTill(() => isMade, PATIENCE_NS))) {
      this.#fail('the volume is not made')
      return undefined
    }
    return [...cluster.volumes.keys()][0]
  }

  async #live(volume: VolumeId): Promise<void> {
    const cluster = this.#cluster
    const { schedule } = cluster
    const { blockCount, clientCount, faultMeanNs, faults: kinds, mode, operatorMeanNs } = this.#scenario
    const seed = this.#seed
    const attachments = new Attachments(
      {
        schedule,
        coverage: cluster.coverage,
        log: cluster.log,
        network: cluster.network,
        hosts: cluster.hosts,
        history: this.#history,
        random: randomFrom(seed, 'attachments'),
        volume,
        isAlone: () => cluster.sets.now.filter(({ isVoter }) => isVoter).length <= 1,
      },
      this.#scenario.attachmentCount,
    )
    const clients = new Clients(
      {
        schedule,
        coverage: cluster.coverage,
        log: cluster.log,
        network: cluster.network,
        hosts: cluster.hosts,
        history: this.#history,
        random: randomFrom(seed, 'clients'),
        work: { volume, blockCount, isDurable: mode === 'durable' },
        onFault: (what, story) => {
          cluster.onFault(what, story)
        },
      },
      clientCount,
      attachments.all,
    )
    const faults = new Faults({
      cluster,
      attachments: attachments.all,
      kinds,
      random: randomFrom(seed, 'faults'),
      meanNs: faultMeanNs,
      mayCutPower: (host) => this.#mayCutPower(host),
      mayFailSync: (host) => this.#mayFailSync(host),
    })
    const operator = new Operator({
      cluster,
      volume,
      attachments: attachments.all,
      random: randomFrom(seed, 'operator'),
      meanNs: operatorMeanNs,
    })
    const rotting = new Rotting({
      cluster,
      volume,
      random: randomFrom(seed, 'rotting'),
      meanNs: this.#rotMeanNs,
    })
    const setOperator = new SetOperator({
      cluster,
      volume,
      random: randomFrom(seed, 'set operator'),
      meanNs: this.#scenario.changeMeanNs,
    })
    cluster.listener = {
      onReply: (reply) => {
        if (!attachments.onReply(reply)) clients.onReply(reply)
      },
      onVolume: () => undefined,
      onSetChange: (host) => {
        faults.onSetChange(host)
      },
      onAnswered: (host, name, caller) => {
        faults.onAnswered(host, name, caller)
      },
      onLoss: () => {
        this.#onLoss(volume)
      },
      onRestart: (_, lsn) => {
        if (mode !== 'durable') this.#lose(volume, lsn)
      },
      onForced: () => {
        const held = this.#held
        this.#history.losses.push({
          at: schedule.nextOrder(),
          isForced: true,
          ...(held !== undefined && { held }),
        })
      },
      onDown: (host, how) => {
        attachments.onDown(host, how === 'power')
        if (how !== 'power') clients.onGone(host)
        if (how === 'failed' || how === 'stopped') faults.onDown(host)
      },
    }
    for (let part = 1; part <= PARTS && cluster.fault === undefined; part++) {
      cluster.log.story('life', `part ${String(part)}`)
      clients.go()
      faults.begin()
      operator.begin()
      rotting.begin()
      if (this.#scenario.spareCount > 0) setOperator.begin()
      const steps = (STEPS_MIN / PARTS) * part
      const untilNs = schedule.nowNs + this.#scenario.partNs
      await cluster.runTill(() => cluster.steps >= steps && schedule.nowNs >= untilNs, PART_NS_MAX)
      operator.end()
      setOperator.end()
      rotting.end()
      faults.end()
      cluster.log.story('life', 'all is made whole')
      const waiting = (): string[] => [...operator.waiting, ...setOperator.waiting]
      if (!(await cluster.runTill(() => waiting().length === 0, PATIENCE_NS)))
        this.#fail('a command is not answered, though nothing is wrong any more', waiting())
      else if (!(await cluster.runTill(() => !cluster.isChanging, PATIENCE_NS)))
        this.#fail('a change of the set is not done, though nothing is wrong any more')
      else await this.#check(volume, clients, rotting)
    }
    if (cluster.fault !== undefined) return
    if (this.#scenario.endsInForce) {
      await this.#endInForce(volume, clients, attachments)
      return
    }
    if (this.#scenario.endsInDeletion) {
      clients.pause()
      clients.leave()
      await deleteVolume({ cluster, volume, random: randomFrom(seed, 'deletion') })
      return
    }
    if (!this.#scenario.endsInRot || this.#contents === undefined) return
    await rot({ cluster, volume, blockCount, random: randomFrom(seed, 'rot') }, this.#contents)
  }

  async #endInForce(volume: VolumeId, clients: Clients, attachments: Attachments): Promise<void> {
    const cluster = this.#cluster
    const forced = new Forced({
      cluster,
      volume,
      clients,
      random: randomFrom(this.#seed, 'force'),
      blockCount: this.#scenario.blockCount,
      homes: attachments.all.map(({ home }) => home),
      mayCutPower: (host) => this.#mayCutPower(host),
      onHeld: (units) => {
        this.#held = units
      },
    })
    this.#gone = forced.gone
    if ((await forced.run()) && cluster.fault === undefined) await this.#check(volume, clients)
  }

  /** Those that have not gone for good. */
  get #hosts(): readonly Host[] {
    return this.#cluster.hosts.filter((host) => !this.#gone.has(host))
  }

  /** Of one that leads for ever nothing acknowledged may go that is not synced; in mode local nobody else has it. */
  #mayCutPower(host: Host): boolean {
    const { mode, hostCount, hasElections } = this.#scenario
    if (mode === 'durable' || hostCount === 1) return true
    return hasElections ? mode === 'quorum' : host.index !== 0
  }

  /** As a host does not know that behind its next start, only what is synced may count. */
  #mayFailSync(host: Host): boolean {
    const { mode, hostCount, hasElections } = this.#scenario
    return mode === 'durable' || hostCount === 1 || (!hasElections && host.index !== 0)
  }

  /** A bad block is one that all others have: those who leave take theirs with them. */
  get #rotMeanNs(): number {
    const { hostCount, rotMeanNs, spareCount } = this.#scenario
    return hostCount > 1 && spareCount === 0 ? rotMeanNs : 0
  }

  /** Alone, a host has lost whatever its disk has. */
  #onLoss(volume: VolumeId): void {
    const { mode, hostCount } = this.#scenario
    if (mode !== 'durable' && hostCount === 1) this.#lose(volume, 0)
  }

  /** What is acknowledged in mode `durable`, or flushed, is never lost. */
  #lose(volume: VolumeId, lsn: number): void {
    this.#history.losses.push({ at: this.#cluster.schedule.nextOrder() })
    this.#cluster.history.lose(volume, lsn)
  }

  // --- When all is whole -----------------------------------------------------------------------------------------------

  async #check(volume: VolumeId, clients: Clients, rotting?: Rotting): Promise<void> {
    const cluster = this.#cluster
    clients.pause()
    if (!(await cluster.runTill(() => clients.isIdle, PATIENCE_NS))) {
      this.#fail('a client waits for ever, though nothing is wrong any more')
      return
    }
    clients.prove()
    if (!(await cluster.runTill(() => clients.isIdle, PATIENCE_NS))) {
      this.#fail('clients cannot write and flush, though nothing is wrong any more')
      return
    }
    const agreed = await this.#agree(volume)
    if (agreed === undefined) return
    const { status, members } = agreed
    const sick = await rotting?.heal()
    if (sick !== undefined) {
      this.#fail(sick)
      return
    }
    for (const host of this.#hosts) {
      const audit = await cluster.ask(host.index, 'audit', {}, PATIENCE_NS)
      if (audit === undefined || audit.errorCode !== '') {
        this.#fail(`audit of ${host.name}: ${audit?.message ?? 'no answer'}`)
        return
      }
    }
    await this.#compare(volume, status, members)
    if (this.#scenario.isReadOffline && cluster.fault === undefined) await this.#readOffline(volume, members)
  }

  /** Waits until all members are at the same version, with nothing under way, and nobody else has any of it. */
  async #agree(volume: VolumeId): Promise<Agreed | undefined> {
    const cluster = this.#cluster
    const untilNs = cluster.schedule.nowNs + PATIENCE_NS
    let told: Told[] = []
    while (cluster.schedule.nowNs < untilNs && cluster.fault === undefined) {
      told = []
      for (const host of this.#hosts) {
        const answer = await cluster.ask(host.index, 'volumes', { volume, all: true }, SECOND)
        told.push({ host, status: (answer?.result as VolumeStatus[] | undefined)?.[0] })
      }
      const status = told.find((one) => one.status?.role === 'primary' && one.status.serving)?.status
      if (status !== undefined && (await this.#isAgreed(status, told))) {
        const names = viewOf(status).members.map((member) => member.host)
        return { status, members: this.#hosts.filter(({ host }) => names.includes(host)) }
      }
      await cluster.runUntil(cluster.schedule.nowNs + 100 * MILLISECOND)
    }
    const story: string[] = []
    for (const { host, status } of told) {
      const stats = await cluster.ask(host.index, 'stats', {}, SECOND)
      story.push(`${host.name}: ${JSON.stringify({ ...status, view: undefined, stats: stats?.result })}`)
    }
    this.#fail('replicas do not become alike', story)
    return undefined
  }

  async #isAgreed(led: VolumeStatus, told: readonly Told[]): Promise<boolean> {
    const { members } = viewOf(led)
    // All are there, so all count.
    if (isDegraded(members)) return false
    for (const { host, status } of told) {
      if (members.some((member) => member.host === host.host)) {
        const isAlike =
          status?.version === led.version &&
          status.committedLsn === status.lsn &&
          JSON.stringify(status.snapshots) === JSON.stringify(led.snapshots)
        if (!isAlike) return false
        continue
      }
      if (status === undefined || status.left) {
        const stats = await this.#cluster.ask(host.index, 'stats', {}, SECOND)
        if ((stats?.result as { liveBytes?: number } | undefined)?.liveBytes !== 0) return false
        this.#cluster.coverage.count('checker:nothing is left of a replica', status === undefined ? 0 : 1)
      } else if (compareEpochs(status.promised, led.epoch) <= 0) {
        // Who has promised more than the present view keeps what it has until the next one.
        return false
      }
    }
    return true
  }

  /** Every version reads alike everywhere; what clients have to find is in the newest. */
  async #compare(volume: VolumeId, { snapshots }: VolumeStatus, members: readonly Host[]): Promise<void> {
    const cluster = this.#cluster
    const names = [volume, ...(snapshots as { name: string }[]).map(({ name }) => `${volume}@${name}`)]
    for (const name of names) {
      let wanted: Buffer | undefined
      for (const host of members) {
        const bytes = await readExport(cluster, host, name, PATIENCE_NS)
        if (host === cluster.witness) {
          if (await this.#isBareWitness(host, bytes)) continue
          this.#fail(`${host.name}, a witness, has data of ${name}`)
          return
        }
        if (typeof bytes === 'string') {
          this.#fail(`${name} cannot be read at ${host.name}: ${bytes}`)
          return
        }
        wanted ??= bytes
        if (!bytes.equals(wanted)) {
          this.#fail(`${name} differs between ${host.name} and ${String(members[0]?.name)}`)
          return
        }
      }
      if (name === volume && wanted !== undefined) this.#noteContents(wanted)
    }
  }

  /** It serves nothing, and keeps no block. */
  async #isBareWitness(host: Host, read: Buffer | string): Promise<boolean> {
    const stats = await this.#cluster.ask(host.index, 'stats', {}, SECOND)
    this.#cluster.coverage.count('checker:a witness has no data')
    const isRefused = read === 'witness' || read === 'not primary'
    return isRefused && (stats?.result as { liveBytes?: number } | undefined)?.liveBytes === 0
  }

  /** What the volume holds now, as if a client had read it. */
  #noteContents(bytes: Buffer): void {
    const count = this.#scenario.blockCount * UNITS_PER_BLOCK
    const { schedule } = this.#cluster
    this.#contents = bytes
    const op = this.#history.read(-1, 0, count, schedule.nextOrder())
    try {
      op.seen = writesIn(bytes.subarray(0, this.#scenario.blockCount * BLOCK_BYTES), 0)
    } catch (error) {
      this.#fail((error as Error).message)
    }
    op.ended = schedule.nextOrder()
  }

  /** The tools' reader finds the same version on every disk, and nothing wrong. */
  async #readOffline(volume: VolumeId, members: readonly Host[]): Promise<void> {
    const versions = new Set<string>()
    for (const { disk, name } of this.#hosts) {
      const report = await verifyStore(disk.disk)
      // A checkpoint, or a version shown lately, may name a block that rotted and was replaced: a scrub has read all others.
      const findings = report.findings.filter(({ code }) => !disk.hasRotted || code !== 'ERR_BLOCK_CORRUPT')
      if (findings.length > 0) {
        this.#fail(`the offline reader finds at ${name}: ${JSON.stringify(findings[0])}`)
        return
      }
      if (!members.some((each) => each.disk === disk)) continue
      const found = report.volumes.find((one) => one.volume === volume)
      versions.add(`${String(found?.lsn)} ${String(found?.version)}`)
    }
    this.#cluster.coverage.count('checker:read offline')
    if (versions.size > 1) {
      this.#fail(`the offline reader finds several versions: ${[...versions].join(', ')}`)
      return
    }
  }

  #checkHistory(): void {
    const fault = findFault(this.#history)
    if (fault !== undefined) this.#cluster.onFault(fault.what, fault.story)
  }

  #fail(what: string, story: readonly string[] = []): void {
    this.#cluster.onFault(what, story)
  }
}
