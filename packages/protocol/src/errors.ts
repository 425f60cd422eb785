/** Errors of the view protocol; docs/errors.md has a row for each. */
import { CloudfsError } from '@cloudfs/interface'

/** Bytes that should be a host's public key are not: nothing can be sealed to it. */
export class HostKeyInvalidError extends CloudfsError {
  readonly code = 'ERR_HOST_KEY_INVALID'
}

/** A sealed box does not open with this host's key. */
export class SealBrokenError extends CloudfsError {
  readonly code = 'ERR_SEAL_BROKEN'
}

/** A view cannot be made of these members. */
export class ViewInvalidError extends CloudfsError {
  readonly code = 'ERR_VIEW_INVALID'
}

/** A slice of a stamp is not the one that was made for this member of this view. */
export class SliceWrongError extends CloudfsError {
  readonly code = 'ERR_SLICE_WRONG'
}

/** Two slices of the same member were given. */
export class SliceDuplicateError extends CloudfsError {
  readonly code = 'ERR_SLICE_DUPLICATE'
}

/** Fewer slices than a majority of the view's voters. */
export class SlicesTooFewError extends CloudfsError {
  readonly code = 'ERR_SLICES_TOO_FEW'
}

/** Slices that are each right make a stamp that is not the view's: the view was made wrong. */
export class StampMismatchError extends CloudfsError {
  readonly code = 'ERR_STAMP_MISMATCH'
}

/** A member of a view is a host that this one has never met: it does not know its key. */
export class UnknownMemberError extends CloudfsError {
  readonly code = 'ERR_MEMBER_UNKNOWN'
}

/** A host asks for what only another may ask for. */
export class NotTheCandidateError extends CloudfsError {
  readonly code = 'ERR_NOT_CANDIDATE'
}

/** What should be a primary's word that it resigned is not signed by it. */
export class ResignationInvalidError extends CloudfsError {
  readonly code = 'ERR_RESIGNATION_INVALID'
}

/** A volume is to be led by a host that cannot just then; whoever led it does so again soon, or another host. */
export class HandOverError extends CloudfsError {
  readonly code = 'ERR_NOT_HANDED_OVER'
}

/** A volume is not to be forced: it is led or can be without it, or another host has more of it. */
export class ForceError extends CloudfsError {
  readonly code = 'ERR_FORCE_REFUSED'
}

/** The set of a volume's members is not changed. */
export class SetChangeError extends CloudfsError {
  readonly code = 'ERR_SET_CHANGE'
}

/** Nobody else has the volume's data. */
export class LastReplicaError extends CloudfsError {
  readonly code = 'ERR_LAST_REPLICA'
}
