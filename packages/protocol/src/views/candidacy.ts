/**
 * One try of one host to become a volume's primary: pre-vote, promises, adoption, slices, view change (docs/protocol.md,
 * E0 to E5). Whatever cuts it short leaves promises and at most an elected replica behind, which the next one outbids.
 */
import type { ViewPayload } from '@cloudfs/format'
import {
  type CloudfsError,
  compareEpochs,
  compareHeads,
  type Epoch,
  EPOCH_NONE,
  type Foresight,
  type Head,
  hexToBytes,
  type HostId,
  isCloudfsError,
  type Stamp,
  type StoreId,
  type VolumeId,
} from '@cloudfs/interface'
import { UnknownMemberError } from '../errors.js'
import { newView } from '../new-view.js'
import { isVoter, majorityOf, openSlice, type OpenSlice, recoverStamp, stampHashOf } from '../stamp-slices.js'
import { type Elected, epochAbove, greatestPromise, judge, type Promised, type Undecided } from './ballot.js'
import { gather } from './gather.js'
import type { Mailbox } from './mailbox.js'
import type { ViewPorts } from './ports.js'
import type { Resignation } from './resignation.js'
import { agree, among, hostsOf, type Member, sameMembers, viewsOf, votersOf } from './sets.js'

/** A host that answers at all answers a question within this time; one that does not is counted as away. */
const ASK_TIMEOUT_MS = 400
/** What has to be adopted is on its way by then, or the try was in vain. Adopting much takes longer, and tells of itself. */
const ADOPT_TIMEOUT_MS = 5_000
/** A member that was called and does not follow yet is called again. */
const CALL_AGAIN_MS = 200
/** Between two questions whether a change of the set is known to be committed. */
const KNOWN_AGAIN_MS = 20
/** The view change is committed by then. */
const BEGIN_TIMEOUT_MS = 2_000
/** Before a restart is concluded every member has had this long to say that it is not recovering (R3). */
const RESTART_GRACE_MS = 1_000

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
  /** `afterMs`: before this it is of no use to try again. */
  | { readonly result: 'failed'; readonly why: string; readonly afterMs: number }
  /** This host is no member that can lead. */
  | { readonly result: 'not-a-member' }

export interface StandOptions {
  /** A more advanced host is asked to stand, instead of this one going on. */
  readonly mayDefer: boolean
  /** A member has promised this, and takes nothing of this host's epoch any more (E1). */
  readonly refused?: Epoch
  /** This host is primary, and no majority's leases run. */
  readonly hasLostLease: boolean
}

export interface Candidate {
  readonly ports: ViewPorts
  readonly volume: VolumeId
  readonly told: Mailbox<Told>
  readonly signal: AbortSignal
  /** It asks for promises now. */
  readonly onStand: () => void
}

const failed = (why: string, afterMs = 0): Outcome => ({ result: 'failed', why, afterMs })

export async function stand(
  candidate: Candidate,
  { mayDefer, refused: told, hasLostLease }: StandOptions,
): Promise<Outcome> {
  const { ports, volume } = candidate
  const own = await ports.engine.wouldPromise(volume, { ...EPOCH_NONE, host: ports.host })
  // What this host leads in by now was refused to its earlier self.
  const refused = told !== undefined && compareEpochs(told, own.promised) > 0 ? told : undefined
  if (own.role === 'primary' && refused === undefined && !hasLostLease) return { result: 'leads' }
  const views = viewsOf(own)
  const view = views.at(-1)
  if (view === undefined || !views.some((each) => canLead(each, ports.host, own.store)))
    return { result: 'not-a-member' }
  if (own.remainingMs > 0) return { result: 'is-led', isGranted: true }
  const sets = views.map(votersOf)

  const vote = await preVote(candidate, own, sets)
  if (!agree(sets, vote, storeOf)) return failed('too few members answer')
  // It waits for followers, whom nobody else has won over.
  if (own.role === 'primary' && refused === undefined && !isOutbid(own, vote)) return { result: 'leads' }
  const better = moreAdvanced(own, vote, sets)
  if (mayDefer && better !== undefined) {
    await ports.peers.stand(better.host, { volume }, ASK_TIMEOUT_MS)
    return { result: 'deferred', to: better.host }
  }
  const willing = vote.filter(({ would }) => would)
  if (!agree(sets, willing, storeOf) || !mayStand(ports, own, view)) {
    const led = vote.filter(
      ({ remainingMs, role, host }) => host !== ports.host && (remainingMs > 0 || role === 'primary'),
    )
    const leader = greatestPromise(led)
    if (leader !== undefined && leader.host !== ports.host && compareEpochs(leader, own.promised) >= 0) {
      await followOn(candidate, own, leader)
      return { result: 'is-led', isGranted: false }
    }
    const waitMs = Math.max(0, ...led.map(({ remainingMs }) => remainingMs))
    return failed('a lease runs, or others have promised more', waitMs)
  }

  const epoch = epochAbove(vote, ports.host, refused)
  const elected = await collectPromises(candidate, epoch, { sets })
  if ('why' in elected) return elected
  return lead(candidate, epoch, elected, own.nonce, {})
}

/** What a primary gives to the host that is to lead in its stead (H1). */
export interface HandedOver {
  readonly resigned: Resignation
  readonly head: Head
  /** Of the head's view. */
  readonly stamp: Stamp
}

/** The primary has resigned in favour of this host: no lease is waited for, no slice asked for. */
export async function takeOver(candidate: Candidate, given: HandedOver): Promise<Outcome> {
  const { ports, volume } = candidate
  const own = await ports.engine.wouldPromise(volume, { ...EPOCH_NONE, host: ports.host })
  const views = viewsOf(own)
  if (!views.some((view) => canLead(view, ports.host, own.store))) return { result: 'not-a-member' }
  const epoch = epochAbove([own], ports.host, given.resigned.epoch)
  const { resigned, stamp } = given
  const elected = await collectPromises(candidate, epoch, { sets: views.map(votersOf), resigned })
  if ('why' in elected) return elected
  return lead(candidate, epoch, elected, own.nonce, { stamp })
}

/** What a primary makes of its volume's set (M1). */
export interface SetChange {
  /** As it is. */
  readonly from: readonly Member[]
  /** As it is to be, the primary among its data members. */
  readonly to: readonly Member[]
}

/**
 * The primary stands for a changed set. From its own promise on it is primary no longer: if it fails, whoever stands first
 * leads, with the set as it was or as it is to be.
 */
export async function changeSet(candidate: Candidate, change: SetChange): Promise<Outcome> {
  const { ports, volume } = candidate
  const own = await ports.engine.wouldPromise(volume, { ...EPOCH_NONE, host: ports.host })
  const views = viewsOf(own)
  const sets = [...views.map(votersOf), votersOf({ members: change.to })]
  const vote = await preVote(candidate, own, sets)
  if (!agree(sets, vote, storeOf)) return failed('too few members answer')
  const epoch = epochAbove(vote, ports.host)
  const elected = await collectPromises(candidate, epoch, { sets, target: change.to })
  if ('why' in elected) return elected
  const outcome = await lead(candidate, epoch, elected, own.nonce, { change })
  if (outcome.result === 'leads') await isKnown(candidate, epoch, change.to)
  return outcome
}

/** Until a majority of the new set knows of the change that it is committed, those who leave are needed still (M1). */
async function isKnown(
  { ports, volume, signal }: Candidate,
  epoch: Epoch,
  to: readonly Member[],
): Promise<void> {
  const voters = votersOf({ members: to })
  const onRefused = refusalLog(ports, volume)
  for (;;) {
    const questions = voters.map(async ({ host }): Promise<Vote> => {
      const asked = { volume, epoch: { ...EPOCH_NONE, host: ports.host } }
      const answer =
        host === ports.host
          ? await ports.engine.wouldPromise(volume, asked.epoch)
          : await ports.peers.foresee(host, asked, ASK_TIMEOUT_MS)
      return { ...answer, host }
    })
    const know = (answers: readonly Vote[]): boolean =>
      agree(
        [voters],
        answers.filter(({ views }) => isKnownIn(views, epoch)),
        storeOf,
      )
    const options = { clock: ports.clock, timeoutMs: ASK_TIMEOUT_MS, signal, isEnough: know, onRefused }
    if (know(await gather(questions, options))) return
    await ports.clock.sleep(KNOWN_AGAIN_MS, signal)
  }
}

function isKnownIn([committed]: Foresight['views'], epoch: Epoch): boolean {
  return committed !== undefined && compareEpochs(committed.epoch, epoch) >= 0
}

function canLead(
  { members }: { readonly members: readonly Member[] },
  host: HostId,
  store: StoreId,
): boolean {
  return members.some((each) => each.host === host && each.store === store && each.role === 'data')
}

const storeOf = ({ store }: Vote): StoreId => store

/** In mode `local` only the primary knows what it has acknowledged: nobody else goes on without it. */
function mayStand({ host }: ViewPorts, own: Foresight, view: ViewPayload): boolean {
  return own.mode !== 'local' || view.primary === host
}

function isOutbid(own: Foresight, vote: readonly Vote[]): boolean {
  return vote.some(({ promised }) => compareEpochs(promised, own.promised) > 0)
}

/** Where too few heads are evidence, the most advanced of all is what a restart goes on from (R3). */
function moreAdvanced(
  own: Foresight,
  vote: readonly Vote[],
  sets: readonly (readonly Member[])[],
): Vote | undefined {
  const evidence = vote.filter(({ recovering }) => !recovering)
  const isEnough = sets.every(
    (voters) => among(voters, evidence, storeOf).length >= voters.length - majorityOf(voters.length) + 1,
  )
  const heads = isEnough ? evidence : vote
  return heads
    .filter(({ head }) => compareHeads(head, own.head) > 0)
    .filter((each) =>
      viewsOf(each)
        .slice(-1)
        .some((view) => canLead(view, each.host, each.store)),
    )
    .sort((a, b) => compareHeads(b.head, a.head))[0]
}

/** Members hang on another leader: this host promises what they did, with which it is no primary any more, and follows. */
async function followOn({ ports, volume }: Candidate, own: Foresight, leader: Epoch): Promise<void> {
  if (compareEpochs(leader, own.promised) > 0) await ports.engine.promise(volume, leader)
  await ports.follow(volume, leader.host)
}

type Vote = Foresight & { readonly host: HostId }

/** Disturbs nobody: what members would say. This host's own answer is among them. */
async function preVote(
  { ports, volume, signal }: Candidate,
  own: Foresight,
  sets: readonly (readonly Member[])[],
): Promise<Vote[]> {
  const others = hostsOf(sets).filter((host) => host !== ports.host)
  // An epoch above what this host knows of: who knows of a greater one says so, and the real one is above that.
  const epoch = epochAbove([own], ports.host)
  const questions = others.map(async (host): Promise<Vote> => {
    const answer = await ports.peers.foresee(host, { volume, epoch }, ASK_TIMEOUT_MS)
    // Who leads, and has not been passed yet, is not deposed: it need not be here that others hear of it. Who would not for
    // the epoch's sake alone would for a greater one.
    const leads = answer.role === 'primary' && compareEpochs(answer.promised, own.promised) >= 0
    return { ...answer, host, would: !leads && (answer.would || answer.remainingMs === 0) }
  })
  const self: Vote = { ...own, host: ports.host, would: true }
  // A member that hangs is not waited for once there are enough without it.
  const isEnough = (votes: readonly Vote[]): boolean =>
    agree(sets, [self, ...votes.filter(({ would }) => would)], storeOf)
  const onRefused = refusalLog(ports, volume)
  const options = { clock: ports.clock, timeoutMs: ASK_TIMEOUT_MS, signal, isEnough, onRefused }
  return [self, ...(await gather(questions, options))]
}

function refusalLog({ log }: ViewPorts, volume: VolumeId): (reason: CloudfsError) => void {
  return ({ code, message }) => {
    log({ volume, message: 'a member refuses', detail: { code, message } })
  }
}

async function collectPromises(
  { ports, volume, signal, onStand }: Candidate,
  epoch: Epoch,
  {
    sets,
    target,
    resigned,
  }: {
    /** Those that have a say as far as this host knows. */
    readonly sets: readonly (readonly Member[])[]
    readonly target?: readonly Member[]
    readonly resigned?: Resignation
  },
): Promise<Elected | (Outcome & { result: 'failed' })> {
  onStand()
  // Synced before anybody is asked (E1).
  const own: Promised = {
    host: ports.host,
    standing: await ports.engine.promise(volume, epoch, resigned?.epoch),
  }
  const isEnough = (answers: readonly Promised[]): boolean =>
    judge([own, ...answers], false, target).result === 'elected'
  const questions = new Map<HostId, Promise<Promised>>()
  const ask = async (host: HostId): Promise<Promised> => ({
    host,
    standing: await ports.peers.promise(host, { volume, epoch, resigned }, RESTART_GRACE_MS),
  })
  const options = { clock: ports.clock, signal, isEnough, onRefused: refusalLog(ports, volume) }
  let promises = [own]
  const hear = async (timeoutMs: number, isLast: boolean): Promise<Elected | Undecided> => {
    promises = [own, ...(await gather([...questions.values()], { ...options, timeoutMs }))]
    return judge(promises, isLast, target)
  }
  // Whoever has the most advanced head may know of a set that nobody here has heard of (M1).
  let unasked = hostsOf(sets).filter((host) => host !== ports.host)
  let verdict: Elected | Undecided
  do {
    for (const host of unasked) questions.set(host, ask(host))
    verdict = await hear(ASK_TIMEOUT_MS, false)
    unasked = hostsOf(verdict.views.map(votersOf)).filter(
      (host) => host !== ports.host && !questions.has(host),
    )
  } while (verdict.result === 'undecided' && unasked.length > 0)
  if (verdict.result === 'undecided' && verdict.mayRestart) verdict = await hear(RESTART_GRACE_MS, true)
  if (verdict.result === 'elected') return verdict
  return { result: 'failed', why: `${String(promises.length)} promises are too few`, afterMs: 0 }
}

async function lead(
  candidate: Candidate,
  epoch: Epoch,
  { head, view, views, isRestart }: Elected,
  nonceHex: string,
  { stamp: given, change }: { readonly stamp?: Stamp; readonly change?: SetChange },
): Promise<Outcome> {
  const { ports, volume, told, signal } = candidate
  const { engine, clock, host, store } = ports
  // One change at a time, and the one that was meant: the core looks again.
  if (change !== undefined && !views.every((each) => sameMembers(each.members, change.from)))
    return failed('the set has been changed by another')
  const members: readonly Member[] = change?.to ?? view.members
  if (!canLead({ members }, host, store)) return failed('this host is out of the set')
  const scope = { nonce: hexToBytes(nonceHex), epoch }
  const recipients = members.map((member) => ({ ...member, publicKey: publicKeyOf(ports, member) }))
  const next = newView(
    { ...scope, primary: host, members: recipients, leaseMs: view.leaseMs },
    ports.randomBytes,
  )
  // Before the engine puts the new one in its place.
  const kept = given ?? (await engine.stampHere(volume))
  await engine.lead(volume, { epoch, stamp: next.stamp, head })
  const voters = votersOf(view)
  // A learner that is to vote has to have everything.
  const needed = votersOf({ members }).filter((one) =>
    view.members.some((each) => isSame(each, one) && !isVoter(each)),
  )
  const isHeld = (holders: readonly Pick<Member, 'host' | 'store'>[]): boolean =>
    voters.filter((voter) => holders.some((one) => isSame(one, voter))).length >= majorityOf(voters.length) &&
    needed.every((joins) => holders.some((one) => isSame(one, joins)))
  const calling = callMembers(candidate, epoch, hostsOf([...views.map((each) => each.members), members]))
  const holders = await told
    .until(
      ({ adopted, outbid }) => {
        if (isAbove(outbid, epoch)) return 'outbid'
        const isOwn = adopted !== undefined && compareEpochs(adopted.epoch, epoch) === 0
        return isOwn && isHeld(adopted.holders) ? adopted.holders : undefined
      },
      { clock, timeoutMs: ADOPT_TIMEOUT_MS, signal },
    )
    .finally(calling)
  if (holders === 'outbid') return failed('another host was elected meanwhile')
  if (holders === undefined) return failed('the history is not adopted by a majority in time')
  const oldStamp =
    (kept !== undefined && stampHashOf(kept) === view.stampHash ? kept : undefined) ??
    (await askSlices(candidate, { epoch, head, view, holders, nonce: scope.nonce }))
  if (oldStamp === undefined) return failed('too few slices of the stamp came')
  await engine.beginView(volume, { epoch, oldStamp, payload: { ...next.payload, oldStamp }, isRestart })
  const leads = await told.until(
    ({ leading, outbid }) => {
      if (leading !== undefined && compareEpochs(leading, epoch) === 0) return true
      return isAbove(outbid, epoch) ? false : undefined
    },
    { clock, timeoutMs: BEGIN_TIMEOUT_MS, signal },
  )
  return leads === true ? { result: 'leads' } : failed('the view change is not committed in time')
}

function isAbove(one: Epoch | undefined, other: Epoch): boolean {
  return one !== undefined && compareEpochs(one, other) > 0
}

/** Tells the members whom to follow, again and again: one may not hear it, or not be able to just then. @returns what ends it */
function callMembers(
  { ports, volume, signal }: Candidate,
  epoch: Epoch,
  hosts: readonly HostId[],
): () => void {
  const over = new AbortController()
  const isOver = AbortSignal.any([signal, over.signal])
  const call = async (host: HostId): Promise<void> => {
    while (!isOver.aborted) {
      try {
        await ports.peers.follow(host, { volume, epoch }, ASK_TIMEOUT_MS)
      } catch (error) {
        if (!isCloudfsError(error)) throw error
      }
      await ports.clock.sleep(CALL_AGAIN_MS, isOver).catch(() => undefined)
    }
  }
  for (const host of hosts) if (host !== ports.host) ports.run(call(host))
  return () => {
    over.abort()
  }
}

async function askSlices(
  { ports, volume, signal }: Candidate,
  won: {
    readonly epoch: Epoch
    readonly head: Elected['head']
    readonly view: ViewPayload
    readonly holders: readonly Pick<Member, 'host' | 'store'>[]
    readonly nonce: Uint8Array
  },
): Promise<Stamp | undefined> {
  const { epoch, head, view, holders, nonce } = won
  // The head's view is the one that its record was made in.
  const scope = { nonce, epoch: head.epoch }
  const voters = votersOf(view)
  const needed = majorityOf(voters.length)
  const isOwnVoter = voters.some((voter) => isSame(voter, ports))
  const own = isOwnVoter ? [openSlice(scope, view, ports, ports.seed)] : []
  const slices = await gather(
    voters
      .filter((voter) => !isSame(voter, ports) && holders.some((one) => isSame(one, voter)))
      .map(async ({ host }): Promise<OpenSlice> => {
        const { store, share } = await ports.peers.slice(host, { volume, epoch, head }, ASK_TIMEOUT_MS)
        return { host, store, share: hexToBytes(share) }
      }),
    {
      clock: ports.clock,
      timeoutMs: ASK_TIMEOUT_MS,
      signal,
      onRefused: refusalLog(ports, volume),
      isEnough: (answers) => answers.length + own.length >= needed,
    },
  )
  return slices.length + own.length < needed ? undefined : recoverStamp(scope, view, [...own, ...slices])
}

function isSame(one: Pick<Member, 'host' | 'store'>, other: Pick<Member, 'host' | 'store'>): boolean {
  return one.host === other.host && one.store === other.store
}

function publicKeyOf(ports: ViewPorts, { host }: Member): Uint8Array {
  const key = ports.peers.publicKeyOf(host)
  if (key === undefined)
    throw new UnknownMemberError(`host ${host} of the view was never met: no slice can be sealed`)
  return key
}
