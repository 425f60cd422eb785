/**
 * What goes into a store's core and comes out of it: the same in production, in simulation and, through the engine
 * process, for the replicator. docs/core.md, Commands and Events, says what each does. Sizes and lsns are numbers: an
 * lsn has 48 bits, and a volume's size is exact up to 2^53 bytes.
 */
import type { Epoch, Lsn } from './history.js'
import type { HostId, StoreId, VersionId, VolumeId } from './ids.js'
import type { Foresight, Head, ReplicaRole, Standing } from './standing.js'

/** Sizes and distances of a store; each has the default that `native/src/core/base/parameters.h` gives it. */
export interface CoreParams {
  /** Segment size, as a power of two: 16 to 26. Of an existing store the superblock's counts. */
  readonly segmentLog2?: number
  /** Physical segments at most; fixed at format. A device's size limits it besides. */
  readonly segmentLimit?: number
  /** Batch alignment, as a power of two: 10 to 12. */
  readonly alignLog2?: number
  readonly checkpointBytes?: number
  readonly syncBytesMax?: number
  readonly syncIntervalNs?: number
  readonly recordBodyBytesMax?: number
  readonly batchBodyBytesMax?: number
  readonly preparedSegments?: number
  readonly reservedSegments?: number
  readonly readsInFlightMax?: number
  /** Of map pages in memory. */
  readonly mapBytesMax?: number
  /** Views are decided by elections (docs/core.md, Views). Without, a primary that starts again goes on in its old view. */
  readonly elections?: boolean
  /** With elections: the kernel's boot, 16 bytes. Left out in production, where the store asks the kernel. */
  readonly bootId?: Uint8Array
}

/** Who a store is; given once, at format. */
export interface StoreIdentity {
  readonly store: StoreId
  readonly host: HostId
  /** Counts formats and restores of this place; 1 if left out. */
  readonly generation?: number
}

/** Something policy wants to know; never one per I/O. */
export type CoreEvent =
  | { readonly name: 'ready'; readonly detail: object }
  | { readonly name: 'stopped'; readonly detail: object }
  | { readonly name: 'store-failed'; readonly detail: { readonly code: string; readonly message: string } }
  | {
      readonly name: 'block-corrupt'
      readonly detail: {
        readonly volume: VolumeId
        readonly block: number
        readonly logical: number
        readonly offset: number
      }
    }
  | {
      /** A bad block was had from another replica; it lay at this place. */
      readonly name: 'block-repaired'
      readonly detail: {
        readonly volume: VolumeId
        readonly block: number
        readonly logical: number
        readonly offset: number
      }
    }
  | { readonly name: 'segment-sealed'; readonly detail: { readonly logical: number } }
  | { readonly name: 'space-low'; readonly detail: { readonly free: number } }
  | { readonly name: 'checkpointed'; readonly detail: { readonly sequence: number } }
  | {
      readonly name: 'head-moved'
      readonly detail: { readonly volume: VolumeId; readonly lsn: Lsn; readonly version: VersionId }
    }
  | {
      /** The leases that this store granted for these volumes ran out, or the time behind a start is over and nobody has one. */
      readonly name: 'lease-over'
      readonly detail: { readonly volumes: readonly VolumeId[] }
    }
  | {
      /** A member has promised another epoch, and takes nothing more of this primary's. */
      readonly name: 'epoch-refused'
      readonly detail: { readonly volume: VolumeId; readonly promised: Epoch }
    }
  | {
      /** Members, this one included, that hold all that is to be adopted in an epoch that was won here. */
      readonly name: 'adopted'
      readonly detail: {
        readonly volume: VolumeId
        readonly epoch: Epoch
        readonly holders: readonly { readonly host: HostId; readonly store: StoreId }[]
      }
    }
  | {
      /** The view of this epoch is committed: this store leads, and serves clients. */
      readonly name: 'leading'
      readonly detail: { readonly volume: VolumeId; readonly epoch: Epoch }
    }
  | {
      /** This store led, or was to, and has promised another epoch: its clients were let go without an answer. */
      readonly name: 'stepped-down'
      readonly detail: { readonly volume: VolumeId; readonly promised: Epoch }
    }
  | {
      /** This store's core was handed the volume by its primary's, and makes its view. */
      readonly name: 'hand-taken'
      readonly detail: { readonly volume: VolumeId; readonly epoch: Epoch }
    }
  | {
      /** This core did not hand the volume over to the next primary's, or was not handed it: the replicators do it. */
      readonly name: 'hand-refused'
      readonly detail: { readonly volume: VolumeId; readonly why: string }
    }
  | {
      /** A primary has no lease and pauses; and has one again. */
      readonly name: 'lease-lost' | 'lease-back'
      readonly detail: { readonly volume: VolumeId }
    }
  | {
      /** A replica that may have lost what was not synced has all of its volume's history again. */
      readonly name: 'recovered'
      readonly detail: { readonly volume: VolumeId }
    }
  | {
      /** A restart went on without what this replica knew to be committed, up to `lsn`: it holds the volume's history now. */
      readonly name: 'history-undone'
      readonly detail: { readonly volume: VolumeId; readonly lsn: number }
    }
  | {
      /** Another attach record is in force. */
      readonly name: 'attached'
      readonly detail: { readonly volume: VolumeId }
    }
  | { readonly name: 'volume-created'; readonly detail: { readonly volume: VolumeId } }
  | { readonly name: 'volume-deleted'; readonly detail: { readonly volume: VolumeId } }
  | {
      /** There is no way to a volume's primary any more; its endpoint waits for a `route`. */
      readonly name: 'route-lost'
      readonly detail: {
        readonly volume: VolumeId
        readonly session: string
        /** Why, unless the primary itself said that it is none any more. */
        readonly code?: string
        readonly message?: string
      }
    }
  | {
      readonly name: 'endpoint-ended'
      readonly detail: { readonly volume: VolumeId; readonly session: string }
    }
  | {
      /** Of the shell: a stream that `adoptStream` took over is no more. */
      readonly name: 'stream-ended'
      readonly detail: {
        readonly stream: number
        readonly volume: VolumeId
        readonly role: 'leader' | 'follower' | 'copy'
        /** Why either side refused to go on, where one did. */
        readonly code?: string
        readonly message?: string
      }
    }

/** Arguments to make a volume: the payload of its creation record and the view's secret, in hex. */
export interface CreateArguments {
  readonly stamp: string
  readonly payload: string
  readonly epoch: Epoch
  readonly token?: string
}

export interface CreateResult {
  readonly volume: VolumeId
  readonly version: VersionId
  readonly lsn: Lsn
}

/** How a member is that is not the primary, as the primary's engine sees it. */
export interface MemberProgress {
  readonly host: HostId
  readonly store: StoreId
  readonly state: 'away' | 'behind' | 'in-step'
  readonly appendedLsn: Lsn
  readonly syncedLsn: Lsn
  /** About; left out while the member has not been heard since the primary's engine started. */
  readonly behindBytes?: number
}

/** A host that serves a volume to its VMs. */
export interface VolumeHolder {
  /** 16 bytes in hex; zero: a `restart` view has ended it. */
  readonly session: string
  readonly host: HostId
  readonly isShared: boolean
  /** Path of its NBD socket there. */
  readonly socket: string
}

/** Who has a volume attached, and how often that has changed. */
export interface VolumeAttachment {
  readonly revision: number
  readonly holders: readonly VolumeHolder[]
}

/** A volume, as the `volumes` command lists it. */
export interface VolumeStatus {
  readonly volume: VolumeId
  readonly name: string
  readonly sizeBytes: number
  readonly mode: string
  readonly lsn: Lsn
  readonly version: VersionId
  readonly committedLsn: Lsn
  readonly syncedLsn: Lsn
  readonly writable: boolean
  /** This store keeps the volume's records without their blocks. */
  readonly witness?: boolean
  /** Of the newest record applied. */
  readonly epoch: Epoch
  /** The greatest epoch promised: whoever stood for that leads, or is about to. */
  readonly promised: Epoch
  readonly role: ReplicaRole
  /** Its primary is here, or has a lease that this replica granted. */
  readonly led: boolean
  /** Clients are served: at the primary, while a majority answers it. */
  readonly serving: boolean
  /** Its creation is committed. Others are listed where all are asked for, as are deleted ones. */
  readonly established: boolean
  /** Its last record is its deletion. */
  readonly deleted: boolean
  /** And that is committed, or the store has left the volume (`left`): nothing of it is left here. */
  readonly deletionCommitted: boolean
  /** This store was a member once and has dropped its replica; it may join again. */
  readonly left: boolean
  /** At the primary: how the other members are. */
  readonly members?: readonly MemberProgress[]
  readonly snapshots: readonly unknown[]
  readonly view: unknown
  readonly attach: VolumeAttachment
}

/** A segment, as the `segments` command lists it. */
export interface SegmentStatus {
  readonly logical: number
  readonly physical: number
  readonly kind: 'user' | 'moved' | 'index'
  readonly state: 'open' | 'sealed' | 'free'
  /** Bytes appended, headers and all. */
  readonly usedBytes: number
  /** Bytes of blocks that some version still needs. */
  readonly liveBytes: number
  readonly firstSequence: number
}

/** Where a scrub of a store stands, and what one step of it found. */
export interface ScrubStep {
  /** The next step begins here. */
  readonly node: number
  readonly block: number
  /** All versions were looked at. */
  readonly done: boolean
  /** Blocks read. */
  readonly blocks: number
  /** Of them: whose bytes failed their checksum; whose bytes another replica had. */
  readonly corrupt: number
  readonly repaired: number
  /** Map pages that failed theirs: what lies below was not read. */
  readonly pagesCorrupt: number
}

/** All segments of a store. */
export interface SegmentTable {
  readonly segments: readonly SegmentStatus[]
  /** Segments that can be opened now. */
  readonly free: number
  /** Segments that only cleaning and checkpoints may take: at or below this many, writes get ENOSPC. */
  readonly reserved: number
}

/** Of an epoch: who it is asked of, in whose name. */
interface EpochArguments {
  readonly volume: string
  readonly epoch: Epoch
}

/** The core's commands: what each takes and gives. */
export interface CoreCommands {
  /** What `promise` would answer. */
  'would-promise': { args: EpochArguments; result: Foresight }
  /** Durable when it is answered. `resigned`: an epoch whose primary has given it up by itself. */
  promise: { args: EpochArguments & { readonly resigned?: Epoch }; result: Standing }
  /** This host has won the epoch: the core adopts `head`; `adopted` tells how far that is. `stamp`: of the view to come. */
  lead: {
    args: EpochArguments & { readonly stamp: string; readonly head: Head; readonly knownLsn?: Lsn }
    result: unknown
  }
  /** Makes the view change, with the stamp of the view before. `leading` tells that it is committed. */
  'begin-view': {
    args: EpochArguments & {
      /** Left out: it is forced. */
      readonly oldStamp?: string
      readonly payload: string
      readonly restart?: boolean
      readonly force?: boolean
    }
    result: { readonly lsn: Lsn; readonly version: VersionId }
  }
  /** The view of `head`, if this replica has promised the epoch and holds that head; and the creation's nonce. */
  'slice-check': {
    args: EpochArguments & { readonly head: Head }
    result: { readonly view: string; readonly nonce: string }
  }
  /**
   * This host is to lead in that epoch, by that view (without the stamp before it): when the volume's primary resigns, its core has
   * this one lead, without anybody else. For 5 s. `pad`: what the primary's core hides its stamp with.
   */
  'expect-hand': {
    args: EpochArguments & { readonly stamp: string; readonly payload: string; readonly pad: string }
    result: unknown
  }
  /**
   * The primary gives up its epoch for good; what another needs to follow it without slices. `next`: of that other host, which it
   * promises with it, if it can. `pad`: that host's core expects it, and is told by this one's.
   */
  resign: {
    args: { readonly volume: string; readonly next?: Epoch; readonly pad?: string }
    result: {
      readonly epoch: Epoch
      readonly head: Head
      readonly token: string
      readonly stamp: string
      readonly promise?: Standing
    }
  }
  create: { args: CreateArguments; result: CreateResult }
  branch: {
    /** `version`: of the volume `from`; its newest one, or one that `head-moved` told within the last 10 s. */
    args: { readonly from: string; readonly version?: string } & Omit<CreateArguments, 'token'>
    result: CreateResult
  }
  /** The volume that is at a version, or told it within the last 10 s. */
  'find-version': { args: { readonly version: string }; result: { readonly volume: VolumeId } }
  /**
   * Who has the volume attached from now on, all of them: those left out are let go unanswered. `after`: the revision that this
   * follows; if there is another, ERR_ATTACHMENT_CHANGED.
   */
  attach: {
    args: { readonly volume: string; readonly holders: readonly VolumeHolder[]; readonly after: number }
    result: { readonly version: VersionId; readonly lsn: Lsn }
  }
  delete: { args: { readonly volume: string }; result: unknown }
  snapshot: {
    args: { readonly volume: string; readonly name: string }
    result: { readonly version: VersionId; readonly lsn: Lsn }
  }
  'delete-snapshot': { args: { readonly volume: string; readonly name: string }; result: unknown }
  resize: { args: { readonly volume: string; readonly sizeBytes: number }; result: unknown }
  /**
   * Drops this store's replica of a volume that was deleted while its host was away. `left`: this store is a member no longer,
   * and may be one again; it is so in the view of `epoch`, of which it may not have heard.
   */
  drop: {
    args: { readonly volume: string; readonly left?: boolean; readonly epoch?: Epoch }
    result: unknown
  }
  volumes: { args: { readonly all?: boolean; readonly volume?: string }; result: readonly VolumeStatus[] }
  records: {
    args: { readonly volume: string; readonly lsn: number; readonly bytesMax: number }
    result: { readonly nextLsn: Lsn }
  }
  checkpoint: { args: object; result: { readonly sequence: number } }
  /** Answered when all that is appended by now is synced. */
  sync: { args: object; result: unknown }
  segments: { args: object; result: SegmentTable }
  clean: { args: { readonly logical: number }; result: { readonly movedBytes: number } }
  /** Reads up to `blocksMax` blocks that some version needs, in order, from {0, 0} on; bad ones are repaired, if they can be. */
  scrub: {
    args: { readonly node: number; readonly block: number; readonly blocksMax: number }
    result: ScrubStep
  }
  stats: { args: object; result: Readonly<Record<string, number>> }
  'put-local': {
    args: { readonly volume: string; readonly kind: number; readonly bytes: string }
    result: unknown
  }
  'get-local': {
    args: { readonly volume: string; readonly kind: number }
    result: { readonly bytes: string | null }
  }
}
export type CoreVerb = keyof CoreCommands
