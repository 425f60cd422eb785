/**
 * Which sets of members have to agree (docs/protocol.md, M1), as `test/model/rules.cc` has it in `every_set`, `agree` and
 * `known`: that of the newest view known to be committed, and those of all views behind it.
 */
import { decodeView, type ViewMember, type ViewPayload } from '@cloudfs/format'
import { compareEpochs, type HostId, hexToBytes, Lsn, type Standing, type StoreId } from '@cloudfs/interface'
import { isVoter, majorityOf } from '../stamp-slices.js'
import type { Heard } from './ports.js'

/** A member, whatever its slice. */
export type Member = Pick<ViewMember, 'host' | 'store' | 'role'>

/** Those that have all that a leader has adopted. */
export type Holders = readonly Pick<Member, 'host' | 'store'>[]

/** What a member answered with that promised. */
export interface Promised {
  readonly host: HostId
  readonly standing: Standing & Heard
}

/** At this many all are forgotten, and decoded anew. */
const DECODED_MAX = 4_096
const decoded = new Map<string, ViewPayload>()

/** Of a view's payload in hex. Decoded once: every member tells the same few again and again. */
export function viewOfHex(payload: string): ViewPayload {
  const known = decoded.get(payload)
  if (known !== undefined) return known
  const view = decodeView(hexToBytes(payload))
  if (decoded.size >= DECODED_MAX) decoded.clear()
  decoded.set(payload, view)
  return view
}

/** The views of a replica that have a say, oldest first; none: it has nothing of the volume. */
export function viewsOf({ views }: Standing): ViewPayload[] {
  return views.map(({ payload }) => viewOfHex(payload))
}

/**
 * As `viewsOf`, without those that another knows to be passed: whoever knows one of these to be committed knows all before
 * it to be. A view that is not among these says nothing: a restart may have gone on without it.
 */
export function viewsInForce(replica: Standing, others: readonly Standing[]): ViewPayload[] {
  return viewsOf(replica).slice(Math.max(0, placeInForce(replica, others)))
}

/** The newest of the replica's views that one of these knows to be committed: up to its record they have one history. */
export function knownLsn(replica: Standing, others: readonly Standing[]): Lsn {
  // A volume's first view, and a forced one, has a say from the beginning on.
  const sure = others.filter(({ views: [first], committedLsn }) => first && first.lsn <= committedLsn)
  return replica.views[placeInForce(replica, sure)]?.lsn ?? Lsn(0)
}

function placeInForce({ views }: Standing, others: readonly Standing[]): number {
  const known = others.flatMap((each) => each.views.slice(0, 1))
  return views.findLastIndex(({ epoch }) => known.some((view) => compareEpochs(view.epoch, epoch) === 0))
}

/**
 * Somebody has heard of a committed view that this history does not come to: an operator had a host go on by force, and the sets
 * here have no say any more. (Without force a majority has every committed view, so the most advanced head does.)
 */
export function isPassed({ views }: Pick<Standing, 'views'>, heard: readonly Heard[]): boolean {
  const newest = views.at(-1)
  return (
    newest !== undefined &&
    heard.some(({ passedBy }) => passedBy !== undefined && compareEpochs(passedBy, newest.epoch) > 0)
  )
}

export function votersOf({ members }: { readonly members: readonly Member[] }): Member[] {
  return members.filter(isVoter)
}

/** Of a set's voters, who is among these. The store counts too: another one of the same host is another member (R4). */
export function among<Answer extends { readonly host: HostId }>(
  voters: readonly Member[],
  answers: readonly Answer[],
  storeOf: (answer: Answer) => StoreId,
): Answer[] {
  return voters.flatMap((voter) =>
    answers.filter((answer) => answer.host === voter.host && storeOf(answer) === voter.store),
  )
}

/** Of each set these are a majority. */
export function agree<Answer extends { readonly host: HostId }>(
  sets: readonly (readonly Member[])[],
  answers: readonly Answer[],
  storeOf: (answer: Answer) => StoreId,
): boolean {
  return sets.every((voters) => among(voters, answers, storeOf).length >= majorityOf(voters.length))
}

export function isSame(one: Pick<Member, 'host' | 'store'>, other: Pick<Member, 'host' | 'store'>): boolean {
  return one.host === other.host && one.store === other.store
}

/** The same members in the same roles, in the same order. */
export function sameMembers(one: readonly Member[], other: readonly Member[]): boolean {
  return (
    one.length === other.length &&
    one.every(({ host, store, role }, index) => {
      const its = other[index]
      return its?.host === host && its.store === store && its.role === role
    })
  )
}

export function hostsOf(sets: readonly (readonly Member[])[]): HostId[] {
  return [...new Set(sets.flat().map(({ host }) => host))]
}
