/**
 * Slices of a view's secret stamp: one for each voter, sealed to its host key, a majority of which give the stamp back
 * (Lithium §3.4.2; bytes in docs/protocol.md, "Slices").
 *
 * The maker of the view is trusted, the hosts that answer with slices need not be: beside the sealed share stands its
 * commitment, so whoever has the view can tell a wrong slice from a right one and name its host. Box and commitment are
 * bound to volume, epoch, stamp and member, so a slice of another view, or of another member, is a wrong one.
 */
import assert from 'node:assert'
import { createHash, timingSafeEqual } from 'node:crypto'
import { hash160, NONCE_BYTES, type ViewMember, type ViewPayload } from '@cloudfs/format'
import { type Epoch, HostId, Stamp, STAMP_BYTES, StampHash, StoreId } from '@cloudfs/interface'
import {
  SealBrokenError,
  SliceDuplicateError,
  SlicesTooFewError,
  SliceWrongError,
  StampMismatchError,
} from './errors.js'
import { seal, SEAL_BYTES, unseal } from './sealed-box.js'
import { joinShares, type RandomBytes, splitSecret } from './secret-sharing.js'

const COMMITMENT_BYTES = 32
const CONTEXT_BYTES = 124
const CONTEXT_LABEL = 'cloudfs slice 1\0'

/** Bytes of a voter's slice in the view payload; a learner's is empty. */
export const SLICE_BYTES = COMMITMENT_BYTES + SEAL_BYTES + STAMP_BYTES

/** Which view: its slices fit this volume, this epoch and the stamp its payload names, and nothing else. */
export interface ViewScope {
  /** From the volume's creation record, for the volume's id is not known yet when that is made. `NONCE_BYTES`. */
  readonly nonce: Uint8Array
  readonly epoch: Epoch
}

/** A view's payload, as far as slices need it. */
export type SlicedView = Pick<ViewPayload, 'stampHash' | 'members'>

/** What a member answers with when a candidate may have its slice. */
export interface OpenSlice {
  readonly host: HostId
  readonly store: StoreId
  /** The share, `STAMP_BYTES`. Secret: it travels over the encrypted peer channel only. */
  readonly share: Uint8Array
}

/** A member before its slice is made: with its host's Ed25519 public key. */
export interface SliceRecipient extends Omit<ViewMember, 'slice'> {
  readonly publicKey: Uint8Array
}

/** H of a stamp, by which a view names it without telling it. */
export function stampHashOf(stamp: Stamp): StampHash {
  return StampHash.fromBytes(hash160(Stamp.toBytes(stamp)))
}

/** More than half of the voters: of 3, 2; of 2, both. */
export function majorityOf(voterCount: number): number {
  return Math.floor(voterCount / 2) + 1
}

/** Data members and witnesses vote and hold slices; learners do neither yet. */
export function isVoter(member: Pick<ViewMember, 'role'>): boolean {
  return member.role !== 'learner'
}

/**
 * One slice for each recipient, in their order; empty for learners.
 *
 * @throws {HostKeyInvalidError} a recipient's public key is none
 */
export function makeSlices(
  stamp: Stamp,
  scope: ViewScope,
  recipients: readonly SliceRecipient[],
  randomBytes: RandomBytes,
): Uint8Array[] {
  const stampHash = stampHashOf(stamp)
  const threshold = thresholdOf(recipients)
  const points = recipients.flatMap((member, index) => (isVoter(member) ? [index + 1] : []))
  const shares = splitSecret(Stamp.toBytes(stamp), points, threshold, randomBytes)
  return recipients.map((member, index) => {
    const share = shares.find((each) => each.point === index + 1)
    if (share === undefined) return new Uint8Array()
    const context = contextOf(scope, stampHash, member, { point: index + 1, threshold })
    const box = seal(share.bytes, member.publicKey, context, randomBytes)
    return Uint8Array.from(Buffer.concat([commitTo(share.bytes, context), box]))
  })
}

/**
 * This host's slice of the stamp.
 *
 * @param seed - of the host's secret key
 * @throws {SealBrokenError} the slice is not sealed to this key for this view
 * @throws {SliceWrongError} `own` has no slice in this view, or what was sealed is not what was committed to
 */
export function openSlice(
  scope: ViewScope,
  view: SlicedView,
  own: { readonly host: HostId; readonly store: StoreId },
  seed: Uint8Array,
): OpenSlice {
  const place = placeOf(scope, view, own)
  const share = unseal(place.slice.subarray(COMMITMENT_BYTES), seed, place.context)
  if (share.length !== STAMP_BYTES)
    throw new SealBrokenError(`a share of ${String(share.length)} bytes was sealed`)
  const opened = { host: own.host, store: own.store, share }
  check(opened, place)
  return opened
}

/**
 * The stamp, from slices that members of the view answered with. Slices beyond a majority are checked all the same.
 *
 * @throws {SliceWrongError} a slice is not the one made for its member of this view; `details` names the host
 * @throws {SliceDuplicateError} two slices are of one member
 * @throws {SlicesTooFewError} they are no majority of the voters
 * @throws {StampMismatchError} all slices are right and the stamp is not: the view was made wrong
 */
export function recoverStamp(scope: ViewScope, view: SlicedView, slices: readonly OpenSlice[]): Stamp {
  const shares = new Map<number, Uint8Array>()
  for (const slice of slices) {
    const place = placeOf(scope, view, slice)
    check(slice, place)
    if (shares.has(place.point)) {
      throw new SliceDuplicateError(`host ${slice.host} gave two slices`, {
        host: slice.host,
        store: slice.store,
      })
    }
    shares.set(place.point, slice.share)
  }
  const needed = thresholdOf(view.members)
  if (shares.size < needed) {
    throw new SlicesTooFewError(`${String(shares.size)} slices of the ${String(needed)} needed`, {
      found: shares.size,
      needed,
    })
  }
  const stamp = Stamp.fromBytes(
    joinShares([...shares].slice(0, needed).map(([point, bytes]) => ({ point, bytes }))),
  )
  if (stampHashOf(stamp) !== view.stampHash) {
    throw new StampMismatchError('the slices make a stamp that is not the one the view names')
  }
  return stamp
}

interface Place {
  readonly point: number
  readonly slice: Uint8Array
  readonly context: Uint8Array
}

function placeOf(
  scope: ViewScope,
  view: SlicedView,
  own: { readonly host: HostId; readonly store: StoreId },
): Place {
  const index = view.members.findIndex((each) => each.host === own.host && each.store === own.store)
  const member = view.members[index]
  if (member?.slice.length !== SLICE_BYTES || !isVoter(member)) {
    throw new SliceWrongError(`host ${own.host} with store ${own.store} has no slice in this view`, {
      host: own.host,
      store: own.store,
    })
  }
  const point = index + 1
  const context = contextOf(scope, view.stampHash, member, { point, threshold: thresholdOf(view.members) })
  return { point, slice: member.slice, context }
}

function check(slice: OpenSlice, place: Place): void {
  const committed = place.slice.subarray(0, COMMITMENT_BYTES)
  if (
    slice.share.length !== STAMP_BYTES ||
    !timingSafeEqual(commitTo(slice.share, place.context), committed)
  ) {
    throw new SliceWrongError(`the slice of host ${slice.host} is not the one made for it in this view`, {
      host: slice.host,
      store: slice.store,
    })
  }
}

function thresholdOf(members: readonly Pick<ViewMember, 'role'>[]): number {
  return majorityOf(members.filter(isVoter).length)
}

/** What a share is committed to with, and sealed for. */
function commitTo(share: Uint8Array, context: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(context).update(share).digest())
}

/** docs/protocol.md, "Slices": the context, `CONTEXT_BYTES`. */
function contextOf(
  scope: ViewScope,
  stampHash: StampHash,
  member: Pick<ViewMember, 'host' | 'store'>,
  share: { readonly point: number; readonly threshold: number },
): Uint8Array {
  assert(scope.nonce.length === NONCE_BYTES, 'a nonce has 16 bytes')
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64LE(BigInt(scope.epoch.counter))
  const context = Buffer.concat([
    Buffer.from(CONTEXT_LABEL, 'latin1'),
    scope.nonce,
    counter,
    HostId.toBytes(scope.epoch.host),
    StampHash.toBytes(stampHash),
    HostId.toBytes(member.host),
    StoreId.toBytes(member.store),
    Buffer.of(share.point, share.threshold, 0, 0),
  ])
  assert(context.length === CONTEXT_BYTES, 'the context is as long as its table says')
  return context
}
