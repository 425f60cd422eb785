/** What a host does that has won: adoption, slices, view change (docs/protocol.md, "Elections"). */
import {
  compareEpochs,
  type Epoch,
  hexToBytes,
  type HostId,
  isCloudfsError,
  JoinedSignal,
  type Stamp,
} from '@cloudfs/interface'
import { UnknownMemberError } from '../errors.js'
import { newView, type NewView } from '../new-view.js'
import { isVoter, majorityOf, stampHashOf } from '../stamp-slices.js'
import type { Elected } from './ballot.js'
import { canLead, type Candidate, failed, type Outcome, type SetChange } from './candidate.js'
import type { ViewPorts } from './ports.js'
import { type Holders, hostsOf, isSame, type Member, sameMembers, votersOf } from './sets.js'
import { askSlices } from './slices.js'
import { ASK_TIMEOUT_MS } from './votes.js'
import { degrades } from './witness.js'

/** What has to be adopted is on its way by then, or the try was in vain. Adopting much takes longer, and tells of itself. */
const ADOPT_TIMEOUT_MS = 5_000
/** A member that was called and does not follow yet is called again. */
const CALL_AGAIN_MS = 200
/** The view change is committed by then. */
const BEGIN_TIMEOUT_MS = 2_000

/** Who has won goes on from the head that was adopted, and is primary once its view change is committed (E3 to E5). */
export async function lead(
  candidate: Candidate,
  epoch: Epoch,
  { head, holder, view, views, promises, isRestart, isCut, knownLsn }: Elected,
  nonceHex: string,
  {
    stamp: given,
    change,
    degraded,
    prepared,
  }: {
    readonly stamp?: Stamp
    readonly change?: SetChange
    /** W4: the set without the data members that have not answered. */
    readonly degraded?: readonly Member[] | undefined
    readonly prepared?: PreparedView | undefined
  },
): Promise<Outcome> {
  const { ports, volume } = candidate
  const { engine, host, store } = ports
  // One change at a time, and the one that was meant: the core looks again.
  // Without a data member it goes on all the same (W4): the others may be of a change that cannot be known without it.
  const judged = change !== undefined && degrades(change.from, change.to) ? views.slice(-1) : views
  if (change !== undefined && !judged.every((each) => sameMembers(each.members, change.from)))
    return failed('the set has been changed by another')
  const members: readonly Member[] = change?.to ?? degraded ?? view.members
  if (!canLead({ members }, host, store)) return failed('this host is out of the set')
  const plan = { epoch, nonce: hexToBytes(nonceHex), members, leaseMs: view.leaseMs }
  const next = prepared !== undefined && isFor(prepared, plan) ? prepared.view : makeView(ports, plan)
  // Before the engine puts the new one in its place.
  const kept = given ?? (await engine.stampHere(volume))
  const ownLsn = promises.find((each) => each.host === host)?.standing.committedLsn ?? 0
  const known = knownLsn > ownLsn ? { knownLsn } : {}
  await engine.lead(volume, { epoch, stamp: next.stamp, head, isCut, ...known })
  const voters = votersOf(view)
  // A learner that is to vote has to have everything.
  const needed = votersOf({ members }).filter((one) =>
    view.members.some((each) => isSame(each, one) && !isVoter(each)),
  )
  const isHeld = (holders: Holders): boolean =>
    voters.filter((voter) => holders.some((one) => isSame(one, voter))).length >= majorityOf(voters.length) &&
    needed.every((joins) => holders.some((one) => isSame(one, joins)))
  // Who has the head to be adopted may be out of all of these.
  const called = new Set([...hostsOf([...views.map((each) => each.members), members]), holder])
  const calling = callMembers(candidate, epoch, [...called])
  const holders = await untilAdopted(candidate, epoch, isHeld).finally(calling)
  if (holders === 'outbid') return failed('another host was elected meanwhile')
  if (holders === undefined) return failed('the history is not adopted by a majority in time')
  const oldStamp =
    (kept !== undefined && stampHashOf(kept) === view.stampHash ? kept : undefined) ??
    (await askSlices(candidate, { epoch, head, view, holders, nonce: plan.nonce }))
  if (oldStamp === undefined) return failed('too few slices of the stamp came')
  await engine.beginView(volume, { epoch, oldStamp, payload: { ...next.payload, oldStamp }, isRestart })
  return untilLeading(candidate, epoch)
}

/** Who has all that is adopted, once that is enough; undefined: not in time. */
export function untilAdopted(
  { ports, told, signal }: Candidate,
  epoch: Epoch,
  isEnough: (holders: Holders) => boolean,
): Promise<Holders | 'outbid' | undefined> {
  return told.until(
    ({ adopted, outbid }) => {
      if (isAbove(outbid, epoch)) return 'outbid'
      const isOwn = adopted !== undefined && compareEpochs(adopted.epoch, epoch) === 0
      return isOwn && isEnough(adopted.holders) ? adopted.holders : undefined
    },
    { clock: ports.clock, timeoutMs: ADOPT_TIMEOUT_MS, signal },
  )
}

/** The view change of that epoch is made. */
export async function untilLeading({ ports, told, signal }: Candidate, epoch: Epoch): Promise<Outcome> {
  const leads = await told.until(
    ({ leading, outbid }) => {
      if (leading !== undefined && compareEpochs(leading, epoch) === 0) return true
      return isAbove(outbid, epoch) ? false : undefined
    },
    { clock: ports.clock, timeoutMs: BEGIN_TIMEOUT_MS, signal },
  )
  return leads === true ? { result: 'leads' } : failed('the view change is not committed in time')
}

/** What a view is made from. */
export interface OwnView {
  readonly epoch: Epoch
  /** Of the volume. */
  readonly nonce: Uint8Array
  readonly members: readonly Member[]
  readonly leaseMs: number
}

/** One that this host has made and not used: it is used once. */
export interface PreparedView {
  readonly epoch: Epoch
  readonly view: NewView
}

/** @throws {UnknownMemberError} a member's key is not known */
export function makeView(ports: ViewPorts, { members, ...plan }: OwnView): NewView {
  const recipients = members.map((member) => ({ ...member, publicKey: publicKeyOf(ports, member) }))
  return newView({ ...plan, primary: ports.host, members: recipients }, ports.randomBytes)
}

function isFor({ epoch, view: { payload } }: PreparedView, plan: OwnView): boolean {
  return (
    compareEpochs(epoch, plan.epoch) === 0 &&
    payload.leaseMs === plan.leaseMs &&
    sameMembers(payload.members, plan.members)
  )
}

function isAbove(one: Epoch | undefined, other: Epoch): boolean {
  return one !== undefined && compareEpochs(one, other) > 0
}

/** Tells the members whom to follow, again and again: one may not hear it, or not be able to just then. @returns what ends it */
export function callMembers(
  { ports, volume, told, signal }: Candidate,
  epoch: Epoch,
  hosts: readonly HostId[],
): () => void {
  const over = new JoinedSignal([signal])
  const isOver = over.signal
  const follows = (host: HostId): boolean => {
    const { adopted } = told.state
    return (
      adopted !== undefined &&
      compareEpochs(adopted.epoch, epoch) === 0 &&
      adopted.holders.some((one) => one.host === host)
    )
  }
  const call = async (host: HostId): Promise<void> => {
    let way: Awaited<ReturnType<ViewPorts['wayToFollow']>>
    while (!isOver.aborted && !follows(host)) {
      try {
        // Whoever has used its challenge, and has to connect again, asks for another.
        way ??= await ports.wayToFollow(volume, host)
        await ports.peers.follow(host, { volume, epoch, way }, ASK_TIMEOUT_MS)
      } catch (error) {
        if (!isCloudfsError(error)) throw error
      }
      await ports.clock.sleep(CALL_AGAIN_MS, isOver).catch(() => undefined)
    }
  }
  for (const host of hosts) if (host !== ports.host) ports.run(call(host))
  return () => {
    over.abort()
    over[Symbol.dispose]()
  }
}

function publicKeyOf(ports: ViewPorts, { host }: Member): Uint8Array {
  const key = ports.peers.publicKeyOf(host)
  if (key === undefined)
    throw new UnknownMemberError(`host ${host} of the view was never met: no slice can be sealed`)
  return key
}
