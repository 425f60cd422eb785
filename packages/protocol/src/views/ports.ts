/** What the view protocol needs of the world. A node gives it real ones, the simulator simulated ones. */
import type { ViewPayload } from '@cloudfs/format'
import type { Epoch, Foresight, Head, HostId, Stamp, Standing, StoreId, VolumeId } from '@cloudfs/interface'
import type { RandomBytes } from '../secret-sharing.js'
import type { Resignation } from './resignation.js'

/** The engine of this host; each is a command of its core (docs/core.md). All may throw coded errors. */
export interface ViewEngine {
  wouldPromise(volume: VolumeId, epoch: Epoch): Promise<Foresight>
  /** `resigned`: an epoch whose primary has given it up, which was checked. */
  promise(volume: VolumeId, epoch: Epoch, resigned?: Epoch): Promise<Standing>
  /** This host's primary gives its epoch up for good. */
  resign(volume: VolumeId): Promise<{ readonly epoch: Epoch; readonly head: Head; readonly stamp: string }>
  lead(volume: VolumeId, plan: LeadPlan): Promise<void>
  beginView(volume: VolumeId, view: NextView): Promise<void>
  /** Throws unless this replica has promised `epoch` and holds `head`. @returns the view of that head, and the nonce; in hex */
  sliceCheck(
    volume: VolumeId,
    epoch: Epoch,
    head: Head,
  ): Promise<{ readonly view: string; readonly nonce: string }>
  /** The stamp of the newest view that this store made, or was to make. */
  stampHere(volume: VolumeId): Promise<Stamp | undefined>
}

export interface LeadPlan {
  readonly epoch: Epoch
  /** Of the view to come. */
  readonly stamp: Stamp
  /** To be adopted. */
  readonly head: Head
}

export interface NextView {
  readonly epoch: Epoch
  readonly oldStamp: Stamp
  readonly payload: ViewPayload
  readonly isRestart: boolean
}

/** What hosts ask each other (docs/protocol.md, "Elections"). */
export interface ViewRequests {
  foresee: { body: { volume: VolumeId; epoch: Epoch }; answer: Foresight }
  promise: { body: { volume: VolumeId; epoch: Epoch; resigned?: Resignation | undefined }; answer: Standing }
  slice: {
    body: { volume: VolumeId; epoch: Epoch; head: Head }
    /** In hex. */
    answer: { store: StoreId; share: string }
  }
  follow: { body: { volume: VolumeId; epoch: Epoch }; answer: object }
  stand: { body: { volume: VolumeId }; answer: object }
  /** Answered when the host asked leads. `stamp`, in hex, is that of the head's view. */
  take: { body: { volume: VolumeId; head: Head; stamp: string; resigned: Resignation }; answer: object }
}
export type ViewRequest = keyof ViewRequests

/** Other hosts. Each throws a coded error: the host refuses, or does not answer within `timeoutMs`. */
export type ViewPeers = {
  readonly [Name in ViewRequest]: (
    host: HostId,
    body: ViewRequests[Name]['body'],
    timeoutMs: number,
  ) => Promise<ViewRequests[Name]['answer']>
} & {
  /** Ed25519. Undefined: never met. */
  publicKeyOf(host: HostId): Uint8Array | undefined
}

/** Counts on while the machine is suspended, or not: nothing about safety depends on it. */
export interface ViewClock {
  nowMs(): number
  /** Rejects with the signal's reason when that is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>
}

export interface ViewPorts {
  readonly host: HostId
  readonly store: StoreId
  /** Of the host's secret key. */
  readonly seed: Uint8Array
  readonly clock: ViewClock
  readonly randomBytes: RandomBytes
  readonly engine: ViewEngine
  readonly peers: ViewPeers
  /** Has this host's engine follow another. A coded error, soon: that does not answer. */
  readonly follow: (volume: VolumeId, leader: HostId) => Promise<void>
  /** Work that nobody waits for: what it throws is a bug. */
  readonly run: (work: Promise<void>) => void
  readonly log: (what: ViewLog) => void
}

/** A step worth telling. */
export interface ViewLog {
  readonly volume: VolumeId
  readonly message: string
  readonly epoch?: Epoch
  readonly detail?: unknown
}
