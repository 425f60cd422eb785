/**
 * When a store may drop its replica of a volume that its host keeps no longer: when a majority of the set as it is now knows,
 * durably, that it is so. Nobody will ever need it then (M1); before that an election may.
 */
import { compareEpochs, type Epoch, type HostId, isCloudfsError, type StoreId } from '@cloudfs/interface'
import { isVoter, majorityOf } from '../stamp-slices.js'
import type { Member } from '../views/sets.js'

/** What a member says of the set: the newest view that it knows to be committed. */
export type Settled = {
  readonly epoch: Epoch
  readonly members: readonly Member[]
}

/** Whose replica it is. */
export interface Replica {
  readonly host: HostId
  readonly store: StoreId
  readonly promised: Epoch
  /** It does not follow: another host went on by force without this store, and may have it learn since. */
  readonly isPassedByForce?: boolean
}

/** Who knows this keeps no replica for the caller. */
export function isOut({ members }: Pick<Settled, 'members'>, own: Pick<Replica, 'host' | 'store'>): boolean {
  return !members.some(({ host, store }) => host === own.host && store === own.store)
}

/** It learns, and cannot with what it has. Of no set since the one that was forced has it been a voter. */
function hasToJoinAnew({ members }: Settled, { host, store, isPassedByForce = false }: Replica): boolean {
  return (
    isPassedByForce &&
    members.some((each) => each.host === host && each.store === store && each.role === 'learner')
  )
}

/**
 * Nobody will ever need what this store has (`may_drop` of `test/model/rules.cc`).
 *
 * @param newest - of all that was said, and of what this host knows
 */
export function mayDrop(own: Replica, newest: Settled, answers: ReadonlyMap<HostId, Settled>): boolean {
  if (!isOut(newest, own) && !hasToJoinAnew(newest, own)) return false
  // Who joins has promised whoever takes it in, and does not know yet that it is a member.
  if (compareEpochs(newest.epoch, own.promised) < 0) return false
  const voters = newest.members.filter(isVoter)
  const know = voters.filter(({ host }) => {
    const said = answers.get(host)
    return said !== undefined && compareEpochs(said.epoch, newest.epoch) >= 0
  })
  return know.length >= majorityOf(voters.length)
}

/**
 * Asks the voters that this host knows of, and those that they name, until it is known whether the replica may go.
 *
 * @param known - the newest view applied here
 * @param ask - what another host says, durably; a coded error: it says nothing
 * @returns the epoch of the view by which it may; undefined: it may not, as far as is known
 */
export async function findWhetherMayDrop(
  own: Replica,
  known: Settled,
  ask: (host: HostId) => Promise<Settled>,
): Promise<Epoch | undefined> {
  const answers = new Map<HostId, Settled>()
  const asked = new Set<HostId>([own.host])
  let newest = known
  for (;;) {
    const next = newest.members.filter((each) => isVoter(each) && !asked.has(each.host))
    if (next.length === 0) return mayDrop(own, newest, answers) ? newest.epoch : undefined
    const questions = next.map(async ({ host }) => {
      asked.add(host)
      answers.set(host, await ask(host))
    })
    for (const each of await Promise.allSettled(questions))
      if (each.status === 'rejected' && !isCloudfsError(each.reason)) throw each.reason
    for (const said of answers.values()) if (compareEpochs(said.epoch, newest.epoch) > 0) newest = said
  }
}
