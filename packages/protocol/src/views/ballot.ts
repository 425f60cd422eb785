/**
 * What the answers to a candidate amount to: pure rules of docs/protocol.md (R3, E0, E3), as `test/model/rules.cc` has
 * them in `promises_suffice`, `heads_suffice` and `may_restart`.
 */
import { decodeView, type ViewPayload } from '@cloudfs/format'
import {
  compareEpochs,
  compareHeads,
  type Epoch,
  EPOCH_NONE,
  type Head,
  type HostId,
  hexToBytes,
  type Standing,
} from '@cloudfs/interface'
import { isVoter, majorityOf } from '../stamp-slices.js'

/** What a member answered with that promised. */
export interface Promised {
  readonly host: HostId
  readonly standing: Standing
}

/** A candidate has won: it may lead, once it has adopted `head`. */
export interface Elected {
  readonly result: 'elected'
  /** The most advanced head promised. */
  readonly head: Head
  /** Who has it. */
  readonly holder: HostId
  /** The newest view in that history. */
  readonly view: ViewPayload
  /** What was acknowledged and not flushed may be gone: the view says so (R3). */
  readonly isRestart: boolean
}

/** It has not, with these answers. */
export interface Undecided {
  readonly result: 'undecided'
  /** Only members that say that they are recovering stand in the way: when nobody else answers, it is a restart. */
  readonly mayRestart: boolean
}

/**
 * Judges by the set of the most advanced head promised: a candidate that meets a newer set is judged by that.
 *
 * @param isLast - every member that answers at all has had its time: a restart may be concluded (R3)
 */
export function judge(promises: readonly Promised[], isLast: boolean): Elected | Undecided {
  const best = mostAdvanced(promises)
  if (best === undefined) return { result: 'undecided', mayRestart: false }
  const view = decodeView(hexToBytes(best.standing.view))
  const voters = view.members.filter(isVoter)
  const majority = majorityOf(voters.length)
  const counted = voters.flatMap(({ host, store }) =>
    promises.filter((each) => each.host === host && each.standing.store === store),
  )
  const recovering = counted.filter(({ standing }) => standing.recovering)
  const evidence = counted.length - recovering.length
  if (counted.length < majority) return { result: 'undecided', mayRestart: false }
  const elected = { result: 'elected', head: best.standing.head, holder: best.host, view } as const
  if (evidence >= voters.length - majority + 1) return { ...elected, isRestart: false }
  const mayRestart = recovering.length >= majority
  return mayRestart && isLast ? { ...elected, isRestart: true } : { result: 'undecided', mayRestart }
}

/** By epoch, then lsn (E3); among equals the first. */
function mostAdvanced(promises: readonly Promised[]): Promised | undefined {
  let best: Promised | undefined
  for (const each of promises)
    if (best === undefined || compareHeads(each.standing.head, best.standing.head) > 0) best = each
  return best
}

/** Above all that anybody is known to have promised, and of the candidate (E1). */
export function epochAbove(standings: readonly Standing[], host: HostId, seen: Epoch = EPOCH_NONE): Epoch {
  const counters = standings.flatMap(({ promised, head }) => [promised.counter, head.epoch.counter])
  return { counter: Math.max(seen.counter, ...counters) + 1, host }
}

/** The greatest epoch that any of them has promised. */
export function greatestPromise(standings: readonly Standing[]): Epoch | undefined {
  return standings
    .map(({ promised }) => promised)
    .sort(compareEpochs)
    .at(-1)
}
