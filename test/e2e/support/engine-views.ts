/** The view protocol of each engine of a cluster, as replicators would run it; they speak with each other by calls. */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { type CoreEvent, EPOCH_NONE, type HostId } from '@cloudfs/interface'
import { PeerTimeoutError, PeerUnreachableError } from '@cloudfs/peers'
import {
  coreEngine,
  type Member,
  type ViewPeers,
  type ViewPorts,
  type ViewRequest,
  type ViewRequests,
  Views,
  viewsOf,
} from '@cloudfs/protocol'
import { vi } from 'vitest'
import type { EngineCluster } from './engine-cluster.js'

const FOLLOW_MS = 500

export class EngineViews {
  readonly #cluster: EngineCluster
  readonly #views = new Map<number, Views>()
  readonly #bugs: Promise<void>[] = []
  readonly #onBeginView = new Map<number, () => void>()
  /** What was said, for a test that fails. */
  readonly log: string[] = []

  constructor(cluster: EngineCluster) {
    this.#cluster = cluster
  }

  /** Of an engine that was started. @param ports - in place of those that call the other engines */
  begin(index: number, ports: Partial<Pick<ViewPorts, 'expectLead' | 'follow'>> = {}): void {
    const cluster = this.#cluster
    const { engine, host, store, key } = { ...cluster.member(index) }
    const views = new Views({
      host,
      store,
      seed: key.seed,
      clock: {
        nowMs: () => performance.now(),
        sleep: (ms, signal) => delay(ms, undefined, { signal }),
      },
      randomBytes: (count) => new Uint8Array(randomBytes(count)),
      engine: coreEngine(async (verb, args) => {
        if (verb === 'begin-view') this.#onBeginView.get(index)?.()
        return (await engine.client.call(verb, args)).result
      }),
      peers: this.#peersOf(host),
      patientMs: 0,
      wayToFollow: () => Promise.resolve(undefined),
      follow: (_, leader) => inTime(cluster.follow(index, cluster.indexOf(leader)), FOLLOW_MS),
      run: (work) => {
        this.#bugs.push(work)
      },
      ...ports,
      log: (what) => this.log.push(`${String(index)}: ${JSON.stringify(what)}`),
    })
    views.add(cluster.volume)
    engine.listener = ({ event, detail }) => {
      views.onEvent({ name: event, detail } as CoreEvent)
    }
    this.#views.set(index, views)
  }

  /** Calls back when that host is about to have its engine make a view's record. */
  onBeginView(index: number, call: () => void): void {
    this.#onBeginView.set(index, call)
  }

  /** Of an engine that was ended, or is about to be. */
  async end(index: number): Promise<void> {
    const views = this.#views.get(index)
    this.#views.delete(index)
    await views?.close()
  }

  async endAll(): Promise<void> {
    await Promise.all([...this.#views.keys()].map((index) => this.end(index)))
    await Promise.all(this.#bugs)
  }

  /** Has the engine that leads hand over to another. */
  async handOver(from: number, to: number): Promise<void> {
    await this.#views.get(from)?.handOver(this.#cluster.volume, this.#cluster.member(to).host)
  }

  /** Has the volume's set changed by its primary to these engines, the primary among them, and its witness; `learner`: one that learns. */
  async changeSet(primary: number, data: readonly number[], learner?: number): Promise<void> {
    const volume = this.#cluster.volume
    const { engine } = this.#cluster.member(primary)
    const { result } = await engine.client.call('would-promise', { volume, epoch: EPOCH_NONE })
    const from = viewsOf(result).at(-1)?.members ?? []
    const member = (index: number, role: 'data' | 'learner'): Member => {
      const { host, store } = this.#cluster.member(index)
      return { host, store, role }
    }
    const to = data.map((index) => member(index, 'data'))
    to.push(...from.filter(({ role }) => role === 'witness'))
    if (learner !== undefined) to.push(member(learner, 'learner'))
    await this.#views.get(primary)?.changeSet(volume, { from, to })
  }

  /** Waits until an engine other than `not` leads. @returns which */
  async leader(not?: number): Promise<number> {
    return vi.waitFor(
      async () => {
        for (const index of this.#views.keys()) {
          if (index === not) continue
          const { result } = await this.#cluster.engine(index).client.call('volumes', {})
          if (result[0]?.writable === true && result[0].serving) return index
        }
        throw new Error(`nobody leads\n${this.log.join('\n')}`)
      },
      { timeout: 20_000, interval: 10 },
    )
  }

  #peersOf(caller: HostId): ViewPeers {
    const ask =
      <Name extends ViewRequest>(name: Name) =>
      async (
        host: HostId,
        body: ViewRequests[Name]['body'],
        timeoutMs: number,
      ): Promise<ViewRequests[Name]['answer']> => {
        const views = this.#views.get(this.#cluster.indexOf(host))
        if (views === undefined) throw new PeerUnreachableError(`host ${host} is away`)
        return inTime(views.answer(name, body, caller), timeoutMs)
      }
    return {
      foresee: ask('foresee'),
      promise: ask('promise'),
      slice: ask('slice'),
      follow: ask('follow'),
      stand: ask('stand'),
      ready: ask('ready'),
      take: ask('take'),
      publicKeyOf: (host) => this.#cluster.member(this.#cluster.indexOf(host)).key.publicKey,
    }
  }
}

/** An engine that hangs answers nothing, and closes nothing. */
async function inTime<Result>(work: Promise<Result>, timeoutMs: number): Promise<Result> {
  const answered = new AbortController()
  const late = delay(timeoutMs, undefined, { signal: answered.signal }).then(() => {
    throw new PeerTimeoutError(`no answer in ${String(timeoutMs)} ms`)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    answered.abort()
    late.catch(() => undefined)
    work.catch(() => undefined)
  }
}
