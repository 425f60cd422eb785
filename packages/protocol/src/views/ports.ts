/** What the view protocol needs of the world. A node gives it real ones, the simulator simulated ones. */
import type { ViewPayload } from '@cloudfs/format'
import type {
  Epoch,
  Foresight,
  Head,
  HostId,
  Lsn,
  Stamp,
  Standing,
  StoreId,
  VolumeId,
} from '@cloudfs/interface'
import type { RandomBytes } from '../secret-sharing.js'
import type { Resignation } from './resignation.js'

/** The engine of this host; each is a command of its core (docs/core.md). All may throw coded errors. */
export interface ViewEngine {
  wouldPromise(volume: VolumeId, epoch: Epoch): Promise<Foresight>
  /**
   * `resigned`: an epoch whose primary has given it up, which was checked. `isForced`: an operator says that the primary of a
   * volume in mode `local` is gone for good.
   */
  promise(
    volume: VolumeId,
    epoch: Epoch,
    how?: { readonly resigned?: Epoch | undefined; readonly isForced?: boolean },
  ): Promise<Standing>
  /** This host's primary gives its epoch up for good, and promises `next`; with `pad` the other's engine is told by this one. */
  resign(volume: VolumeId, next: Epoch, pad: string | undefined): Promise<Resigned>
  /** When the primary's engine says that it has resigned, this host's leads by that view. */
  expectHand(volume: VolumeId, lead: ExpectedHand): Promise<void>
  /** What is appended by now. */
  sync(): Promise<void>
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

interface ExpectedHand {
  readonly epoch: Epoch
  readonly stamp: Stamp
  /** Without the stamp before. */
  readonly payload: ViewPayload
  /** 32 bytes in hex, with which the other's engine hides the stamp that it sends. */
  readonly pad: string
}

interface Resigned {
  readonly epoch: Epoch
  readonly head: Head
  /** In hex. */
  readonly stamp: string
  /** Left out: it could not promise that epoch. */
  readonly promise?: Standing
}

export interface LeadPlan {
  readonly epoch: Epoch
  /** Of the view to come. */
  readonly stamp: Stamp
  /** To be adopted. */
  readonly head: Head
  /** Up to there that history is committed, as others know that promised (M1). Left out: this host knows as much. */
  readonly knownLsn?: Lsn
  /** A witness has more, which is left off (W3, W5). */
  readonly isCut?: boolean
}

export interface NextView {
  readonly epoch: Epoch
  /** Left out: it is forced. */
  readonly oldStamp?: Stamp
  readonly payload: ViewPayload
  readonly isRestart: boolean
}

/** What a member's engine needs to follow another: one key and one challenge each. */
type FollowWay = {
  /** `HOST:PORT` */
  readonly address: string
  /** Hex; a secret. */
  readonly key: string
  /** Hex. */
  readonly nonce: string
}

/** What a replicator adds to its engine's word on a replica. */
export type Heard = {
  /** Of a view that leaves its store out and is known to be committed, as another host said, later than all that the store has. */
  readonly passedBy?: Epoch | undefined
}

/** What hosts ask each other (docs/protocol.md, "Elections"). */
export interface ViewRequests {
  foresee: { body: { volume: VolumeId; epoch: Epoch }; answer: Foresight & Heard }
  promise: {
    body: { volume: VolumeId; epoch: Epoch; resigned?: Resignation | undefined }
    answer: Standing & Heard
  }
  slice: {
    body: { volume: VolumeId; epoch: Epoch; head: Head }
    /** In hex. */
    answer: { store: StoreId; share: string }
  }
  /** `way`: left out, the host asked has to ask for it. */
  follow: { body: { volume: VolumeId; epoch: Epoch; way?: FollowWay | undefined }; answer: object }
  stand: { body: { volume: VolumeId }; answer: object }
  /**
   * Answered when what the host asked has of the volume is synced, and it has made what it needs to lead in `next`, if that is its
   * own. `pad`: its engine expects to be told by the caller's.
   */
  ready: { body: { volume: VolumeId; next: Epoch }; answer: { pad?: string | undefined } }
  /** Answered when the host asked leads. `stamp`, in hex, is that of the head's view. `promise`: the caller's, of an epoch of the host asked. */
  take: {
    body: {
      volume: VolumeId
      head: Head
      stamp: string
      resigned: Resignation
      promise?: Standing | undefined
    }
    answer: object
  }
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
  /** Whoever has just started hears first what all members have to say, if they say it in this time. */
  readonly patientMs: number
  readonly randomBytes: RandomBytes
  readonly engine: ViewEngine
  readonly peers: ViewPeers
  /** Has this host's engine follow another. A coded error, soon: that does not answer. */
  readonly follow: (volume: VolumeId, leader: HostId, way?: FollowWay) => Promise<void>
  /** What a member needs to follow this host, which was elected. Undefined: it is to ask. A coded error: the engine's. */
  readonly wayToFollow: (volume: VolumeId, member: HostId) => Promise<FollowWay | undefined>
  /**
   * Volume is about to be handed over to this host: whoever is to follow it then, or has the volume attached, may connect before. It
   * is to save time, decides nothing, and throws nothing. Left out: they connect when they are told.
   */
  readonly expectLead?: (to: {
    readonly volume: VolumeId
    readonly epoch: Epoch
    readonly stamp: Stamp
    readonly members: readonly HostId[]
  }) => Promise<void>
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
