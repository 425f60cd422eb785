/**
 * What the answers to a candidate amount to: pure rules of docs/protocol.md (R3, E0, E3), as `test/model/rules.cc` has
 * them in `promises_suffice`, `heads_suffice` and `may_restart`.
 */
import type { ViewPayload } from '@cloudfs/format'
import {
  compareEpochs,
  compareHeads,
  type Epoch,
  EPOCH_NONE,
  type Head,
  type HostId,
  type Standing,
} from '@cloudfs/interface'
import { majorityOf } from '../stamp-slices.js'
import { agree, among, type Member, viewsInForce, votersOf } from './sets.js'

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
  /** And all whose sets had a say (M1), this one the last of them. */
  readonly views: readonly ViewPayload[]
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
  if (best === undefined || view === undefined) return { result: 'undecided', views, mayRestart: false }
  const sets = views.map(votersOf)
  const asked = target === undefined ? sets : [...sets, votersOf({ members: target })]
  if (!agree(asked, promises, storeOf)) return { result: 'undecided', views, mayRestart: false }
  const elected = { result: 'elected', head: best.standing.head, holder: best.host, view, views } as const
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
