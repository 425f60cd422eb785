/** `/metrics`, for Prometheus: this process, the members, and what the engine counts. */
import { isCloudfsError, type VolumeStatus } from '@cloudfs/interface'
import type { PeerNode } from '@cloudfs/peers'
import { isDegraded } from '@cloudfs/protocol'
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client'
import { type CatchUp, etaSecondsOf } from './catch-up.js'
import type { EngineSupervisor } from './engine-supervisor.js'
import { viewOf } from './held-volumes.js'
import type { ViewCounts } from './viewing.js'

/** How often the event loop's delay is sampled: each sample wakes an idle process. */
const EVENT_LOOP_SAMPLE_MS = 200

export class Metrics {
  readonly #registry = new Registry()
  readonly #engine: EngineSupervisor
  readonly #peers: PeerNode
  readonly #engineUp = this.#gauge('cloudfs_engine_up', 'Whether the engine is connected')
  readonly #engineStarts = this.#gauge('cloudfs_engine_starts', 'Engines that this replicator has started')
  readonly #members = this.#gauge('cloudfs_members', 'Other hosts, by state', ['state'])
  readonly #replicas = this.#gauge(
    'cloudfs_replicas',
    'Replicas of volumes whose primary is here, by state',
    ['state'],
  )
  readonly #behind = this.#gauge(
    'cloudfs_behind_bytes',
    'What replicas lack of volumes whose primary is here',
    ['volume', 'host'],
  )
  readonly #catchUp = this.#gauge(
    'cloudfs_catch_up_bytes_per_second',
    'By how much that becomes less, lately',
    ['volume', 'host'],
  )
  readonly #catchUpSeconds = this.#gauge(
    'cloudfs_catch_up_seconds',
    'Until a replica that is behind has everything, if it goes on so',
    ['volume', 'host'],
  )
  readonly #held = this.#gauge('cloudfs_volumes', 'Volumes of which this host holds a replica')
  readonly #led = this.#gauge('cloudfs_volumes_led', 'Volumes of which this host is the primary')
  readonly #unleased = this.#gauge(
    'cloudfs_volumes_without_lease',
    'Volumes of which this host is the primary and that it does not serve: no majority answers it',
  )
  readonly #degraded = this.#gauge(
    'cloudfs_volumes_degraded',
    'Volumes of which this host is the primary and that go on with one data copy, beside a witness',
  )
  readonly #viewChanges = this.#counter(
    'cloudfs_view_changes_total',
    'Views in which this host came to lead a volume, since this replicator began',
  )
  readonly #leasesLost = this.#counter(
    'cloudfs_leases_lost_total',
    'How often this host, the primary of a volume, had no majority that answers it any more',
  )
  readonly #counts: () => ViewCounts
  readonly #rates: CatchUp
  readonly #figures = new Map<string, Gauge>()

  constructor(engine: EngineSupervisor, peers: PeerNode, rates: CatchUp, counts: () => ViewCounts) {
    this.#rates = rates
    this.#engine = engine
    this.#peers = peers
    this.#counts = counts
    collectDefaultMetrics({
      register: this.#registry,
      prefix: 'cloudfs_replicator_',
      eventLoopMonitoringPrecision: EVENT_LOOP_SAMPLE_MS,
    })
  }

  async text(): Promise<string> {
    const said = await this.#tryAskEngine()
    // Nothing waits from here on: two who ask at once do not mix. What an engine said that has gone since is old.
    const { isUp } = this.#engine
    this.#engineUp.set(isUp ? 1 : 0)
    this.#engineStarts.set(this.#engine.starts)
    const { viewChanges, leasesLost } = this.#counts()
    for (const [counter, value] of [
      [this.#viewChanges, viewChanges],
      [this.#leasesLost, leasesLost],
    ] as const) {
      counter.reset()
      counter.inc(value)
    }
    const members = this.#peers.members()
    for (const state of ['up', 'suspect', 'down']) {
      this.#members.set({ state }, members.filter((each) => each.state === state).length)
    }
    this.#forgetEngine()
    if (isUp && said !== undefined) {
      this.#countReplicas(said.volumes)
      for (const [name, value] of Object.entries(said.figures)) this.#set(name, value)
    }
    return this.#registry.metrics()
  }

  /** What the engine counts; nothing if it cannot say: the node's own figures are wanted then most of all. */
  async #tryAskEngine(): Promise<
    { figures: Readonly<Record<string, number>>; volumes: readonly VolumeStatus[] } | undefined
  > {
    if (!this.#engine.isUp) return undefined
    try {
      const core = await this.#engine.result('stats', {})
      const shell = await this.#engine.result('shell-stats', {})
      const scrub = await this.#engine.result('scrub-status', {})
      return { figures: { ...core, ...shell, ...scrub }, volumes: await this.#engine.result('volumes', {}) }
    } catch (error) {
      if (isCloudfsError(error)) return undefined
      throw error
    }
  }

  /** What the engine said last is no longer so: a figure that is not there says more than one that stands still. */
  #forgetEngine(): void {
    for (const gauge of [this.#held, this.#led, this.#unleased, this.#degraded, ...this.#figures.values()])
      gauge.remove()
    for (const gauge of [this.#replicas, this.#behind, this.#catchUp, this.#catchUpSeconds]) gauge.reset()
  }

  #countReplicas(volumes: readonly VolumeStatus[]): void {
    this.#held.set(volumes.length)
    const led = volumes.filter(({ role }) => role === 'primary')
    this.#led.set(led.length)
    this.#unleased.set(led.filter(({ serving }) => !serving).length)
    this.#degraded.set(led.filter((status) => isDegraded(viewOf(status).members)).length)
    const members = volumes.flatMap(({ volume, members = [] }) =>
      members.map((each) => ({ volume, ...each })),
    )
    for (const state of ['in-step', 'behind', 'away']) {
      this.#replicas.set({ state }, members.filter((each) => each.state === state).length)
    }
    for (const { volume, host, store, behindBytes } of members) {
      if (behindBytes === undefined || behindBytes === 0) continue
      this.#behind.set({ volume, host }, behindBytes)
      const rate = this.#rates.rateOf(volume, store)
      if (rate !== undefined) this.#catchUp.set({ volume, host }, rate)
      const seconds = etaSecondsOf(behindBytes, rate)
      if (seconds !== undefined) this.#catchUpSeconds.set({ volume, host }, seconds)
    }
  }

  /** The engine's figures come and go with its version: each becomes a gauge under its own name. */
  #set(name: string, value: number): void {
    const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    let gauge = this.#figures.get(name)
    if (gauge === undefined) {
      gauge = this.#gauge(`cloudfs_engine_${snake}`, `The engine's figure ${name}`)
      this.#figures.set(name, gauge)
    }
    gauge.set(value)
  }

  #counter(name: string, help: string): Counter {
    return new Counter({ name, help, registers: [this.#registry] })
  }

  #gauge(name: string, help: string, labelNames: string[] = []): Gauge {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] })
  }
}
