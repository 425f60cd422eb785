/**
 * What the answers to a candidate amount to: pure rules of docs/protocol.md (R3, E0, E3), as `test/model/rules.cc` has
 * them in `promises_suffice`, `heads_suffice`, `may_restart` and, for witnesses (witness.ts), `Model::adopt`.
 */
import type { ViewPayload } from '@cloudfs/format'
import {
  compareEpochs,
  compareHeads,
  type Epoch,
  EPOCH_NONE,
  type Head,
  type HostId,
  type Lsn,
  type Standing,
} from '@cloudfs/interface'
import { majorityOf } from '../stamp-slices.js'
import {
  agree,
  among,
  isPassed,
  knownLsn,
  type Member,
  type Promised,
  viewsInForce,
  viewsOf,
  votersOf,
} from './sets.js'
import { answered, dataOf, hasWitness, isWitnessIn, keptOf } from './witness.js'

export type { Promised }

/** A candidate has won: it may lead, once it has adopted `head`. */
export interface Elected {
  readonly result: 'elected'
  /** The most advanced head promised, without what nobody has but a witness, which has no bodies (W3, W5). */
  readonly head: Head
  /** Who has it. */
  readonly holder: HostId
  /** The newest view in that history. */
  readonly view: ViewPayload
  /** And all whose sets had a say (M1), this one the last of them. */
  readonly views: readonly ViewPayload[]
  /** Those that were counted. */
  readonly promises: readonly Promised[]
  /** What a witness has more than anybody else who answered is left off. */
  readonly isCut: boolean
  /** Up to there some of them know the most advanced history to be committed (M1). */
  readonly knownLsn: Lsn
  /** What was acknowledged and not flushed may be gone: the view says so (R3). */
  readonly isRestart: boolean
}

/** It has not, with these answers. */
export interface Undecided {
  readonly result: 'undecided'
  /** Whose sets have a say, as far as is known by now. */
  readonly views: readonly ViewPayload[]
  /** Only members that say that they are recovering stand in the way: when nobody else answers, it is a restart. */
  readonly mayRestart: boolean
}

/**
 * Judges by the sets of the most advanced head promised: a candidate that meets a newer set is judged by that.
 *
 * @param isLast - every member that answers at all has had its time: a restart may be concluded (R3)
 * @param target - the set that the candidate is to change to, which has to agree too (M1); never with a restart
 */
export function judge(
  promises: readonly Promised[],
  isLast: boolean,
  target?: readonly Member[],
): Elected | Undecided {
  const best = mostAdvanced(promises)
  const standings = promises.map(({ standing }) => standing)
  const views = best === undefined ? [] : viewsInForce(best.standing, standings)
  const view = views.at(-1)
  if (best === undefined || view === undefined || isPassed(best.standing, standings))
    return { result: 'undecided', views, mayRestart: false }
  const sets = views.map(votersOf)
  const asked = target === undefined ? sets : [...sets, votersOf({ members: target })]
  if (!agree(asked, promises, storeOf)) return { result: 'undecided', views, mayRestart: false }
  const elected = {
    result: 'elected',
    head: best.standing.head,
    holder: best.host,
    view,
    views,
    promises,
    isCut: false,
    knownLsn: knownLsn(best.standing, standings),
    isRestart: false,
  } as const
  const verdict = judgeHeads(elected, sets, isLast, target)
  const members = views.map((each) => each.members)
  if (verdict.result !== 'elected' || !isWitnessIn(members, best)) return verdict
  const kept = keptOf(best, promises)
  if (kept === undefined) return verdict
  const isGone = kept !== 'unknown' && kept.isGone && target === undefined
  if (kept === 'unknown' || !(kept.isSafe || isGone)) return { result: 'undecided', views, mayRestart: false }
  const keptView = viewsOf(kept.holder.standing).at(-1)
  if (keptView === undefined) return { result: 'undecided', views, mayRestart: false }
  return {
    ...verdict,
    head: kept.head,
    holder: kept.holder.host,
    view: keptView,
    isCut: true,
    isRestart: verdict.isRestart || !kept.isSafe,
  }
}

/** Whoever may still answer could have what is else gone on without: a data member of a set with a witness. */
export function lacksData(views: readonly ViewPayload[], promises: readonly Promised[]): boolean {
  return views.some(
    ({ members }) => hasWitness(members) && dataOf(members).some((each) => !answered(promises, each)),
  )
}

function judgeHeads(
  elected: Elected,
  sets: readonly (readonly Member[])[],
  isLast: boolean,
  target: readonly Member[] | undefined,
): Elected | Undecided {
  const { promises, views } = elected
  const judged = sets.map((voters) => weigh(voters, promises))
  if (judged.every(({ isEvident }) => isEvident)) return { ...elected, isRestart: false }
  const mayRestart =
    target === undefined && judged.every(({ isEvident, mayRestart: may }) => isEvident || may)
  return mayRestart && isLast ? { ...elected, isRestart: true } : { result: 'undecided', views, mayRestart }
}

/** R3, for one set. */
function weigh(
  voters: readonly Member[],
  promises: readonly Promised[],
): { readonly isEvident: boolean; readonly mayRestart: boolean } {
  const counted = among(voters, promises, storeOf)
  const recovering = counted.filter(({ standing }) => standing.recovering).length
  const majority = majorityOf(voters.length)
  return {
    isEvident: counted.length - recovering >= voters.length - majority + 1,
    mayRestart: recovering >= majority,
  }
}

const storeOf = ({ standing }: Promised): Standing['store'] => standing.store

/** By epoch, then lsn (E3); among equals the first that has data. */
function mostAdvanced(promises: readonly Promised[]): Promised | undefined {
  const sets = promises.flatMap(({ standing }) => viewsOf(standing).map(({ members }) => members))
  let best: Promised | undefined
  for (const each of promises) {
    const order = best === undefined ? 1 : compareHeads(each.standing.head, best.standing.head)
    const hasMore = order === 0 && best !== undefined && isWitnessIn(sets, best) && !isWitnessIn(sets, each)
    if (order > 0 || hasMore) best = each
  }
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
