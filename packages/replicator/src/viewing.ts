/** The view protocol on this node: gives it the engine, the other hosts and the clock, and tells it what happens. */
import { randomBytes } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type CoreEvent,
  type EngineEvent,
  type Epoch,
  type HostId,
  isCloudfsError,
  type StoreId,
  type VolumeId,
  type VolumeStatus,
} from '@cloudfs/interface'
import type { HostKey, PeerNode } from '@cloudfs/peers'
import { coreEngine, type SetChange, type ViewPeers, Views } from '@cloudfs/protocol'
import type { Logger } from 'pino'
import type { EngineSupervisor } from './engine-supervisor.js'
import type { Succession } from './heir.js'
import { viewOf } from './held-volumes.js'
import type { Way } from './peer-requests.js'
import {
  askForesee,
  askPromise,
  askReady,
  askSlice,
  askStand,
  askTake,
  tellElected,
} from './view-requests.js'

/**
 * A volume that nobody leads for this long is stood for without an event: one that came while no replicator was there is
 * lost. Longer than a new volume takes to be led.
 */
const UNLED_MS_MAX = 1_500

/** Nodes that start find each other within this. */
const PATIENT_MS = 3_000

interface ViewingOptions {
  readonly host: HostId
  readonly key: HostKey
  /** Known once the engine's store is. */
  readonly store: () => StoreId
  readonly engine: EngineSupervisor
  readonly peers: PeerNode
  /** Has the engine follow a host that has won. */
  readonly follow: (volume: VolumeId, leader: HostId, way?: Way) => Promise<void>
  /** What a member's engine needs to follow this host's. */
  readonly wayToFollow: (volume: VolumeId, member: HostId) => Promise<Way>
  /** This host is about to lead a volume that is handed over to it. */
  readonly expectLead: (succession: Succession) => Promise<void>
  readonly log: Logger
}

/** Since this process began. */
export interface ViewCounts {
  /** Views that this host has come to lead in. */
  readonly viewChanges: number
  readonly leasesLost: number
}

export class Viewing {
  readonly #options: ViewingOptions
  readonly #views: Views
  /** Since when nobody has led a volume, as far as this host can tell. */
  readonly #unledMs = new Map<VolumeId, number>()
  #counts: ViewCounts = { viewChanges: 0, leasesLost: 0 }

  constructor(options: ViewingOptions) {
    this.#options = options
    const { host, key, store, engine, peers, follow, wayToFollow, expectLead, log } = options
    const views = new Views({
      host,
      get store() {
        return store()
      },
      seed: key.seed,
      clock: {
        nowMs: () => performance.now(),
        sleep: (ms, signal) => {
          // One signal ends what many volumes wait for.
          setMaxListeners(0, signal)
          return delay(ms, undefined, { signal })
        },
      },
      patientMs: PATIENT_MS,
      randomBytes: (count) => new Uint8Array(randomBytes(count)),
      engine: coreEngine((verb, args) => engine.result(verb, args)),
      peers: viewPeers(peers, { host, publicKey: key.publicKey }),
      follow,
      wayToFollow,
      expectLead,
      run: (work) => {
        work.catch((error: unknown) => {
          if (isCloudfsError(error)) log.info({ err: error }, 'an election is left')
          else log.error({ err: error }, 'a bug')
        })
      },
      log: ({ message, ...rest }) => {
        log.info(rest, `view: ${message}`)
      },
    })
    this.#views = views
    peers.handle(askForesee, (body, caller) => views.answer('foresee', body, caller))
    peers.handle(askPromise, (body, caller) => views.answer('promise', body, caller))
    peers.handle(askSlice, (body, caller) => views.answer('slice', body, caller))
    peers.handle(tellElected, async (body, caller) => {
      await views.answer('follow', body, caller)
      return {}
    })
    peers.handle(askStand, async (body, caller) => {
      await views.answer('stand', body, caller)
      return {}
    })
    peers.handle(askReady, (body, caller) => views.answer('ready', body, caller))
    peers.handle(askTake, async (body, caller) => {
      await views.answer('take', body, caller)
      return {}
    })
  }

  get counts(): ViewCounts {
    return this.#counts
  }

  /** The engine's store has started. */
  begin(): void {
    this.#views.onStarted()
  }

  /** Fits what is looked after to `volumes`, which are all that the store has, and stands for those that nobody leads. */
  mend(volumes: readonly VolumeStatus[]): void {
    const now = performance.now()
    const held = new Set(volumes.map(({ volume }) => volume))
    for (const volume of this.#unledMs.keys()) if (!held.has(volume)) this.#unledMs.delete(volume)
    for (const status of volumes) {
      const { volume } = status
      if (status.deletionCommitted || !this.#isDataMember(status)) {
        this.#views.remove(volume)
        continue
      }
      this.#views.add(volume)
      if (status.led) {
        this.#unledMs.delete(volume)
        continue
      }
      const since = this.#unledMs.get(volume) ?? now
      this.#unledMs.set(volume, since)
      if (now - since > UNLED_MS_MAX) this.#views.seek(volume)
    }
  }

  onEvent({ event, detail }: EngineEvent): void {
    const { viewChanges, leasesLost } = this.#counts
    if (event === 'leading') this.#counts = { viewChanges: viewChanges + 1, leasesLost }
    if (event === 'lease-lost') this.#counts = { viewChanges, leasesLost: leasesLost + 1 }
    // The engine sends its core's events on as they are.
    this.#views.onEvent({ name: event, detail } as CoreEvent)
  }

  /** Has another host lead a volume that this one leads. */
  handOver(volume: VolumeId, to: HostId): Promise<void> {
    return this.#views.handOver(volume, to)
  }

  /** Has the set of a volume that this host leads changed; it leads on. */
  changeSet(volume: VolumeId, change: SetChange): Promise<void> {
    return this.#views.changeSet(volume, change)
  }

  /** Has this host go on alone with what it has of a volume, at an operator's word. */
  force(volume: VolumeId): Promise<void> {
    return this.#views.force(volume)
  }

  /** Another host leads in this epoch, or has promised it: who leads here in an earlier one finds out what it is now. */
  learned(volume: VolumeId, promised: Epoch): void {
    this.#views.onEvent({ name: 'epoch-refused', detail: { volume, promised } })
  }

  close(): Promise<void> {
    return this.#views.close()
  }

  #isDataMember(status: VolumeStatus): boolean {
    const { host } = this.#options
    return viewOf(status).members.some((member) => member.host === host && member.role === 'data')
  }
}

function viewPeers(
  peers: PeerNode,
  own: { readonly host: HostId; readonly publicKey: Uint8Array },
): ViewPeers {
  return {
    foresee: (host, body, timeoutMs) => peers.request(host, askForesee, body, { timeoutMs }),
    promise: (host, body, timeoutMs) => peers.request(host, askPromise, body, { timeoutMs }),
    slice: (host, body, timeoutMs) => peers.request(host, askSlice, body, { timeoutMs }),
    follow: (host, body, timeoutMs) => peers.request(host, tellElected, body, { timeoutMs }),
    stand: (host, body, timeoutMs) => peers.request(host, askStand, body, { timeoutMs }),
    ready: (host, body, timeoutMs) => peers.request(host, askReady, body, { timeoutMs }),
    take: (host, body, timeoutMs) => peers.request(host, askTake, body, { timeoutMs }),
    publicKeyOf: (host) => (host === own.host ? own.publicKey : peers.member(host)?.publicKey),
  }
}
