/** Makes the payload of a view: a fresh stamp, its hash, and a sealed slice for each voter. */
import { type ViewPayload } from '@cloudfs/format'
import { type HostId, Stamp, STAMP_BYTES } from '@cloudfs/interface'
import { ViewInvalidError } from './errors.js'
import type { RandomBytes } from './secret-sharing.js'
import { isVoter, makeSlices, type SliceRecipient, stampHashOf, type ViewScope } from './stamp-slices.js'

/** How long a replica promises not to promise another (DESIGN L1); a view may say otherwise. */
export const LEASE_MS_DEFAULT = 500

/** Below this a primary's renewals would be late on a busy host; above, a fail-over takes longer than people bear. */
export const LEASE_MS_MIN = 50
export const LEASE_MS_MAX = 60_000

/** The members of a view fit its payload's count. */
export const MEMBERS_MAX = 255

/** What a new view is made from. */
export interface ViewPlan extends ViewScope {
  readonly primary: HostId
  /** `LEASE_MS_DEFAULT` */
  readonly leaseMs?: number
  readonly members: readonly SliceRecipient[]
  /** The stamp of the view before, which the new one reveals; none at creation. */
  readonly oldStamp?: Stamp
}

/** A view and its secret, which only the primary keeps. */
export interface NewView {
  readonly stamp: Stamp
  readonly payload: ViewPayload
}

/**
 * A new view with a fresh stamp. Of `randomBytes` it takes 32 for the stamp, 32 for each degree of the sharing and 32
 * for each voter's seal, in this order.
 *
 * @throws {ViewInvalidError} the members, the primary or the lease cannot be those of a view
 * @throws {HostKeyInvalidError} a voter's public key is none
 */
export function newView(plan: ViewPlan, randomBytes: RandomBytes): NewView {
  const leaseMs = plan.leaseMs ?? LEASE_MS_DEFAULT
  refuseUnsound(plan, leaseMs)
  const stamp = Stamp.fromBytes(randomBytes(STAMP_BYTES))
  const slices = makeSlices(stamp, plan, plan.members, randomBytes)
  const members = plan.members.map(({ host, store, role }, index) => ({
    host,
    store,
    role,
    slice: slices[index] ?? new Uint8Array(),
  }))
  const { primary, oldStamp } = plan
  const payload = { stampHash: stampHashOf(stamp), primary, leaseMs, members, ...(oldStamp && { oldStamp }) }
  return { stamp, payload }
}

function refuseUnsound({ members, primary }: ViewPlan, leaseMs: number): void {
  const refuse = (why: string): never => {
    throw new ViewInvalidError(`no view can be made: ${why}`)
  }
  if (members.length > MEMBERS_MAX)
    refuse(`${String(members.length)} members, at most ${String(MEMBERS_MAX)} fit`)
  const stores = members.map((each) => `${each.host} ${each.store}`)
  if (new Set(stores).size < members.length) refuse('a store is a member twice')
  const voters = members.filter(isVoter)
  // A learner may share a host with the voter it is to replace: that is how a disk is changed.
  if (new Set(voters.map((each) => each.host)).size < voters.length) refuse('a host votes twice')
  const leader = members.find((each) => each.host === primary)
  if (leader?.role !== 'data') refuse('the primary is not among its data members')
  if (!Number.isInteger(leaseMs) || leaseMs < LEASE_MS_MIN || leaseMs > LEASE_MS_MAX) {
    refuse(`a lease of ${String(leaseMs)} ms, not ${String(LEASE_MS_MIN)} to ${String(LEASE_MS_MAX)}`)
  }
}
