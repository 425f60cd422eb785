/**
 * What a replica says of itself when it is asked for its promise (docs/protocol.md, E1 to E3). Types, not interfaces: as JSON
 * they travel between hosts.
 */
import { compareEpochs, type Epoch, type Lsn } from './history.js'
import type { StoreId, VersionId } from './ids.js'

/** The newest record of a replica, whether it is committed or not. */
export type Head = {
  /** Of the view that the record was made in. */
  readonly epoch: Epoch
  readonly lsn: Lsn
  readonly version: VersionId
}

/** Negative, zero or positive as `a` is less, as, or more advanced than `b`: by epoch, then lsn, never by length (E3). */
export function compareHeads(a: Omit<Head, 'version'>, b: Omit<Head, 'version'>): number {
  return compareEpochs(a.epoch, b.epoch) || a.lsn - b.lsn
}

/** Where a replica stands. */
export type Standing = {
  /** With its host it is the member (R4). */
  readonly store: StoreId
  /** The greatest epoch it has promised, durably. */
  readonly promised: Epoch
  readonly head: Head
  /** Updates up to here are known to be committed. */
  readonly committedLsn: Lsn
  /** It may have lost what was not synced: its head is no evidence (R2). */
  readonly recovering: boolean
  /** Of the volume's creation record, in hex. */
  readonly nonce: string
  /**
   * The newest view that it knows to be committed, and all behind it, which may be yet: the set of each has to agree (M1).
   * Empty: it has nothing of the volume. Payloads in hex.
   */
  readonly views: readonly { readonly epoch: Epoch; readonly lsn: Lsn; readonly payload: string }[]
}

/** What a replica would say if it were asked for its promise now. */
export type Foresight = Standing & {
  /** It would promise the epoch asked about. */
  readonly would: boolean
  /** How long the lease runs that it granted, or, behind a start, may have granted (E2); 0: none runs. */
  readonly remainingMs: number
  readonly role: ReplicaRole
  /** Of the volume: `durable`, `quorum` or `local`. */
  readonly mode: string
}

/** `elected`: it has won an epoch and adopts the most advanced history; `primary`: its own view stands in that. */
export type ReplicaRole = 'follower' | 'elected' | 'primary'
