/**
 * What a witness changes in elections (docs/protocol.md, W2 to W5): it has the headers of updates that no data member need
 * have. As `test/model` has it in `with_bodies`, `cannot_be_committed`, `is_gone` and `may_change`.
 *
 * What two replicas have in common is told by the views that each knows: within an epoch there is one chain, so who is in an
 * epoch that the other came to has a beginning of its records; so has who is in the epoch that the other's first view follows, by
 * the stamp of it that this reveals. Where that does not tell, nothing is left off.
 */
import { compareEpochs, type Head, type Standing } from '@cloudfs/interface'
import { isVoter, majorityOf, stampHashOf } from '../stamp-slices.js'
import { type Member, type Promised, viewOfHex } from './sets.js'

export function hasWitness(members: readonly Member[]): boolean {
  return members.some(({ role }) => role === 'witness')
}

export function dataOf(members: readonly Member[]): Member[] {
  return members.filter(({ role }) => role === 'data')
}

/** It votes in one of these sets, and keeps no data. */
export function isWitnessIn(
  sets: readonly (readonly Member[])[],
  { host, standing: { store } }: Pick<Promised, 'host' | 'standing'>,
): boolean {
  return sets.flat().some((each) => each.role === 'witness' && each.host === host && each.store === store)
}

/** All of `replica`'s history is a beginning of the other's, as far as their views tell. */
export function isBeginningOf(replica: Standing, other: Standing): boolean {
  const { head } = replica
  if (compareEpochs(head.epoch, other.head.epoch) === 0) return head.lsn <= other.head.lsn
  const at = other.views.findIndex(({ epoch }) => compareEpochs(epoch, head.epoch) === 0)
  const next = at >= 0 ? other.views[at + 1] : viewBehind(replica, other)
  return next !== undefined && head.lsn < next.lsn
}

/** The other's first view, if it is of another epoch and follows the replica's newest: it reveals the stamp of that. */
function viewBehind({ head, views }: Standing, other: Standing): Standing['views'][number] | undefined {
  const newest = views.at(-1)
  const [next] = other.views
  if (newest === undefined || next === undefined || compareEpochs(newest.epoch, head.epoch) !== 0)
    return undefined
  const { oldStamp } = viewOfHex(next.payload)
  const isBehind = oldStamp !== undefined && stampHashOf(oldStamp) === viewOfHex(newest.payload).stampHash
  return isBehind ? next : undefined
}

/** What a candidate goes on from where nobody who answered has the bodies of all that the most advanced head has. */
export interface Kept {
  readonly head: Head
  readonly holder: Promised
  /** W3: none of what is left off can have been committed. */
  readonly isSafe: boolean
  /** W5: else, every data member that could have it has answered. */
  readonly isGone: boolean
}

/**
 * @param best - the most advanced promise, of a witness
 * @returns undefined: nothing has to be left off; 'unknown': what could be is not known
 */
export function keptOf(best: Promised, promises: readonly Promised[]): Kept | 'unknown' | undefined {
  const { views } = best.standing
  const sets = views.map(({ payload }) => viewOfHex(payload).members)
  const data = promises.filter((each) => each !== best && !isWitnessIn(sets, each))
  const beginnings = data.filter(({ standing }) => isBeginningOf(standing, best.standing))
  let holder: Promised | undefined
  for (const each of beginnings)
    if (holder === undefined || each.standing.head.lsn > holder.standing.head.lsn) holder = each
  if (holder === undefined) return 'unknown'
  const { head } = holder.standing
  // A header is all there is of a view change: what follows is one, and is not to be left off.
  let lsn: number = head.lsn
  while (views.some((view) => view.lsn === lsn + 1)) lsn++
  if (lsn >= best.standing.head.lsn) return undefined
  if (lsn > head.lsn) return 'unknown'
  // The sets under which what is left off could have been counted.
  const first = views.findLastIndex((view) => view.lsn <= head.lsn)
  if (first < 0) return 'unknown'
  const judged = sets.slice(first)
  const lacking = beginnings.filter(({ standing }) => !standing.recovering && standing.head.lsn <= head.lsn)
  return {
    head,
    holder,
    isSafe: judged.every((members) => cannotBeCommitted(members, lacking)),
    isGone: judged.every((members) => dataOf(members).every((each) => answered(promises, each))),
  }
}

function cannotBeCommitted(members: readonly Member[], lacking: readonly Promised[]): boolean {
  const left = dataOf(members).filter((each) => !answered(lacking, each))
  return left.length < dataOf(members).length && left.length < majorityOf(members.filter(isVoter).length)
}

/**
 * W4: the set without the data members that have not answered, which learn when they are back. @returns undefined: they have
 * all, or nobody is a witness
 */
export function degradedSet(members: readonly Member[], promises: readonly Promised[]): Member[] | undefined {
  if (!hasWitness(members)) return undefined
  const to = members.map((each) =>
    each.role === 'data' && !answered(promises, each) ? { ...each, role: 'learner' as const } : each,
  )
  return dataOf(to).length === dataOf(members).length || dataOf(to).length === 0 ? undefined : to
}

/** The same members, but for data members that only learn from now on. */
export function degrades(from: readonly Member[], to: readonly Member[]): boolean {
  return (
    hasWitness(from) &&
    from.length === to.length &&
    dataOf(to).length < dataOf(from).length &&
    from.every((each, index) => {
      const next = to[index]
      const isSame = next?.host === each.host && next.store === each.store
      return isSame && (next.role === each.role || (each.role === 'data' && next.role === 'learner'))
    })
  )
}

/** It goes on with one data copy, beside a witness: what that one loses is lost. */
export function isDegraded(members: readonly Member[]): boolean {
  return hasWitness(members) && dataOf(members).length < 2
}

export function answered(
  promises: readonly Promised[],
  { host, store }: Pick<Member, 'host' | 'store'>,
): boolean {
  return promises.some((each) => each.host === host && each.standing.store === store)
}
