/**
 * Views: election, lease, membership, hand-over, secret sharing. Pure.
 */
export * from './errors.js'
export { LEASE_MS_DEFAULT, LEASE_MS_MAX, LEASE_MS_MIN, MEMBERS_MAX, newView } from './new-view.js'
export type { NewView, ViewPlan } from './new-view.js'
export { seal, SEAL_BYTES, unseal } from './sealed-box.js'
export type { RandomBytes } from './secret-sharing.js'
export { isVoter, majorityOf, openSlice, recoverStamp, SLICE_BYTES, stampHashOf } from './stamp-slices.js'
export type { OpenSlice, SlicedView, SliceRecipient, ViewScope } from './stamp-slices.js'
export type {
  Heard,
  ViewClock,
  ViewEngine,
  ViewLog,
  ViewPeers,
  ViewPorts,
  ViewRequest,
  ViewRequests,
} from './views/ports.js'
export type { LeadPlan, NextView } from './views/ports.js'
export type { SetChange } from './views/candidate.js'
export { Absences } from './members/absences.js'
export { Degrading, type DegradingStep } from './members/degrading.js'
export { deletedOf } from './members/deletions.js'
export { findWhetherMayDrop, isOut, type Settled } from './members/leaving.js'
export { type Led, type Place, SetChanges, type Wish } from './members/set-changes.js'
export { type Member, sameMembers, viewOfHex, viewsOf } from './views/sets.js'
export { isDegraded } from './views/witness.js'
export { Views } from './views/views.js'
export type { Resignation } from './views/resignation.js'
export { type CoreCall, coreEngine } from './views/core-engine.js'
