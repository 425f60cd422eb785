/** What members answer a candidate: what they would promise, and what they do (docs/protocol.md, E1, E2, R3, M1). */
import {
  type CloudfsError,
  compareEpochs,
  compareHeads,
  type Epoch,
  type Foresight,
  type HostId,
  type StoreId,
  type VolumeId,
} from '@cloudfs/interface'
import { majorityOf } from '../stamp-slices.js'
import { type Elected, epochAbove, judge, lacksData, type Promised, type Undecided } from './ballot.js'
import { canLead, type Candidate, failed, type Outcome } from './candidate.js'
import { gather } from './gather.js'
import type { Heard, ViewPorts } from './ports.js'
import type { Resignation } from './resignation.js'
import { agree, among, hostsOf, type Member, viewOfHex, viewsOf, votersOf } from './sets.js'

/** A host that answers at all answers a question within this time; one that does not is counted as away. */
export const ASK_TIMEOUT_MS = 400
/** Before a restart is concluded every member has had this long to say that it is not recovering (R3). */
const RESTART_GRACE_MS = 1_000

export type Vote = Foresight & Heard & { readonly host: HostId }

/** Disturbs nobody: what members would say. This host's own answer is among them. */
export async function preVote(
  { ports, volume, signal, heard }: Candidate,
  own: Foresight,
  sets: readonly (readonly Member[])[],
  isPatient = false,
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
  const self: Vote = { ...own, ...heard, host: ports.host, would: true }
  // A member that hangs is not waited for once there are enough without it.
  const isEnough = (votes: readonly Vote[]): boolean =>
    !isPatient && agree(sets, [self, ...votes.filter(({ would }) => would)], storeOf)
  const onRefused = refusalLog(ports, volume)
  const options = { clock: ports.clock, timeoutMs: ASK_TIMEOUT_MS, signal, isEnough, onRefused }
  return [self, ...(await gather(questions, options))]
}

export function refusalLog({ log }: ViewPorts, volume: VolumeId): (reason: CloudfsError) => void {
  return ({ code, message }) => {
    log({ volume, message: 'a member refuses', detail: { code, message } })
  }
}

/**
 * Promises that suffice, or not. Asks nobody where those `given` do: each counts by itself, whenever it was made, once this
 * host's own is synced.
 */
export async function collectPromises(
  { ports, volume, signal, heard, onStand }: Candidate,
  epoch: Epoch,
  {
    sets,
    target,
    resigned,
    given = [],
  }: {
    /** Those that have a say as far as this host knows. */
    readonly sets: readonly (readonly Member[])[]
    readonly target?: readonly Member[]
    readonly resigned?: Resignation
    /** For this epoch. */
    readonly given?: readonly Promised[]
  },
): Promise<Elected | (Outcome & { result: 'failed' })> {
  onStand()
  // Synced before anybody is asked (E1).
  const own: Promised = {
    host: ports.host,
    standing: { ...(await ports.engine.promise(volume, epoch, { resigned: resigned?.epoch })), ...heard },
  }
  const known = [own, ...given]
  const isEnough = (answers: readonly Promised[]): boolean => {
    const all = [...known, ...answers]
    const sofar = judge(all, false, target)
    // Where a witness votes, a majority may have less than the one that is missing: it is waited for, if not for ever.
    return sofar.result === 'elected' && (target !== undefined || !lacksData(sofar.views, all))
  }
  const questions = new Map<HostId, Promise<Promised>>()
  const ask = async (host: HostId): Promise<Promised> => ({
    host,
    standing: await ports.peers.promise(host, { volume, epoch, resigned }, RESTART_GRACE_MS),
  })
  const options = { clock: ports.clock, signal, isEnough, onRefused: refusalLog(ports, volume) }
  let promises = known
  const hear = async (timeoutMs: number, isLast: boolean): Promise<Elected | Undecided> => {
    promises = [...known, ...(await gather([...questions.values()], { ...options, timeoutMs }))]
    return judge(promises, isLast, target)
  }
  const unaskedOf = (asked: readonly (readonly Member[])[]): HostId[] =>
    hostsOf(asked).filter((host) => !questions.has(host) && !known.some((each) => each.host === host))
  let verdict = judge(known, false, target)
  let unasked = unaskedOf(sets)
  // Whoever has the most advanced head may know of a set that nobody here has heard of (M1).
  while (verdict.result === 'undecided' && unasked.length > 0) {
    for (const host of unasked) questions.set(host, ask(host))
    verdict = await hear(ASK_TIMEOUT_MS, false)
    unasked = unaskedOf(verdict.views.map(votersOf))
  }
  if (verdict.result === 'undecided' && verdict.mayRestart) verdict = await hear(RESTART_GRACE_MS, true)
  if (verdict.result === 'elected') return verdict
  return failed(`${String(promises.length)} promises are too few`)
}

/** The other knows a view to be committed, later than all that this store has, in which it has no say. @returns its epoch */
export function passedBy(own: Foresight, { views: [committed] }: Vote): Epoch | undefined {
  const newest = own.views.at(-1)
  if (committed === undefined || newest === undefined || compareEpochs(committed.epoch, newest.epoch) <= 0)
    return undefined
  const { members } = viewOfHex(committed.payload)
  // A learner too: behind a forced view it is one that was counted as lost, and its older set has no say any more.
  const hasSay = members.some(({ role, store }) => store === own.store && role !== 'learner')
  return hasSay ? undefined : committed.epoch
}

export function isOutbid(own: Foresight, vote: readonly Vote[]): boolean {
  return vote.some(({ promised }) => compareEpochs(promised, own.promised) > 0)
}

/** Where too few heads are evidence, the most advanced of all is what a restart goes on from (R3). */
export function moreAdvanced(
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

export const storeOf = ({ store }: Vote): StoreId => store
