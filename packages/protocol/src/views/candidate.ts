/** One host that stands for one volume: what it has, and what may come of a try. */
import type { Epoch, HostId, StoreId, VolumeId } from '@cloudfs/interface'
import type { Mailbox } from './mailbox.js'
import type { Heard, ViewPorts } from './ports.js'
import type { Member } from './sets.js'

/** What the engine has told of this volume. */
export interface Told {
  /** Members that hold all that is to be adopted, in the epoch that was won. */
  readonly adopted?: { readonly epoch: Epoch; readonly holders: readonly Pick<Member, 'host' | 'store'>[] }
  /** The view of this epoch is committed. */
  readonly leading?: Epoch
  /** This replica has promised another host's epoch since. */
  readonly outbid?: Epoch
}

export type Outcome =
  /** This host is the volume's primary. */
  | { readonly result: 'leads' }
  /** Another host is. `isGranted`: it holds this host's lease, whose end the engine will tell. */
  | { readonly result: 'is-led'; readonly isGranted: boolean }
  /** Another host has a more advanced history and has been asked to stand. */
  | { readonly result: 'deferred'; readonly to: HostId }
  /**
   * `afterMs`: before this it is of no use to try again. `isCutOff`: so few members answer that an operator may have another host go
   * on by force.
   */
  | {
      readonly result: 'failed'
      readonly why: string
      readonly afterMs: number
      readonly isCutOff?: boolean
    }
  /** This host is no member that can lead: by the committed view of that epoch, which another host has told of. */
  | { readonly result: 'not-a-member'; readonly passedBy?: Epoch | undefined }

/** What a primary makes of its volume's set (M1). */
export interface SetChange {
  /** As it is. */
  readonly from: readonly Member[]
  /** As it is to be, the primary among its data members. */
  readonly to: readonly Member[]
}

export interface Candidate {
  readonly ports: ViewPorts
  readonly volume: VolumeId
  readonly told: Mailbox<Told>
  /** What other hosts have told this one. */
  readonly heard: Heard
  readonly signal: AbortSignal
  /** It asks for promises now. */
  readonly onStand: () => void
}

export const failed = (why: string, afterMs = 0): Outcome & { result: 'failed' } => ({
  result: 'failed',
  why,
  afterMs,
})

export function canLead(
  { members }: { readonly members: readonly Member[] },
  host: HostId,
  store: StoreId,
): boolean {
  return members.some((each) => each.host === host && each.store === store && each.role === 'data')
}
