/**
 * One try of one host to become the primary of a volume that nobody leads: pre-vote, promises, and then it leads
 * (docs/protocol.md, E0 to E5). Whatever cuts it short leaves promises and at most an elected replica behind, which the next
 * one outbids.
 */
import type { ViewPayload } from '@cloudfs/format'
import { compareEpochs, compareHeads, type Epoch, EPOCH_NONE, type Foresight } from '@cloudfs/interface'
import { type Elected, epochAbove, greatestPromise } from './ballot.js'
import { canLead, type Candidate, failed, type Outcome } from './candidate.js'
import { lead } from './lead.js'
import type { ViewPorts } from './ports.js'
import {
  agree,
  hostsOf,
  isPassed,
  type Member,
  sameMembers,
  viewsInForce,
  viewsOf,
  votersOf,
} from './sets.js'
import {
  ASK_TIMEOUT_MS,
  collectPromises,
  isOutbid,
  moreAdvanced,
  passedBy,
  preVote,
  storeOf,
} from './votes.js'
import { degradedSet, hasWitness } from './witness.js'

export interface StandOptions {
  /** A more advanced host is asked to stand, instead of this one going on. */
  readonly mayDefer: boolean
  /** A member has promised this, and takes nothing of this host's epoch any more (E1). */
  readonly refused?: Epoch
  /** This host is primary, and no majority's leases run. */
  readonly hasLostLease: boolean
  /** It has just started, and other members may be about to say something that matters: it stands only if all answer. */
  readonly isPatient: boolean
  /** It was without a majority until now: it hears first what all have to say that answer in time. */
  readonly wasCutOff: boolean
}

export async function stand(
  candidate: Candidate,
  { mayDefer, refused: told, hasLostLease, isPatient, wasCutOff }: StandOptions,
): Promise<Outcome> {
  const { ports, volume } = candidate
  const own = await ports.engine.wouldPromise(volume, { ...EPOCH_NONE, host: ports.host })
  // What this host leads in by now was refused to its earlier self.
  const refused = told !== undefined && compareEpochs(told, own.promised) > 0 ? told : undefined
  if (own.role === 'primary' && refused === undefined && !hasLostLease) return { result: 'leads' }
  const views = viewsOf(own)
  const view = views.at(-1)
  const isMember = views.some((each) => canLead(each, ports.host, own.store))
  if (view === undefined || !(isMember || mayHaveJoined(own))) return { result: 'not-a-member' }
  if (own.remainingMs > 0) return { result: 'is-led', isGranted: true }
  const asked = views.map(votersOf)

  // A data member that a witness outvotes may have more.
  const vote = await preVote(candidate, own, asked, isPatient || wasCutOff || asked.some(hasWitness))
  const passed = vote.flatMap((each) => passedBy(own, each) ?? []).sort(compareEpochs)
  if (passed.length > 0) return { result: 'not-a-member', passedBy: passed.at(-1) }
  // Of a change of the set a witness may have the record that no data member has: who stands is one of that set. Without a witness
  // whoever is of a set that has a say may stand: what is adopted decides, and a more advanced host is asked first.
  const newest = mostAdvancedOf(own, vote)
  const isOfNewest = viewsOf(newest)
    .slice(-1)
    .every((each) => canLead(each, ports.host, own.store))
  if (asked.some(hasWitness) && !isOfNewest)
    return failed('this host has no say, or only learns, in the newest view that others tell of')
  // Others may know of a change of the set that it is committed, which is all that the set before it was needed for (M1).
  const sets = viewsInForce(isMember ? own : newest, vote).map(votersOf)
  if (!agree(sets, vote, storeOf)) return { ...failed('too few members answer'), isCutOff: true }
  if (isPatient && hostsOf(sets).some((host) => vote.every((each) => each.host !== host)))
    return failed('a member does not answer yet')
  // It waits for followers, whom nobody else has won over.
  if (own.role === 'primary' && refused === undefined && !isOutbid(own, vote)) return { result: 'leads' }
  // In mode local whoever has more may not stand for it.
  const better = own.mode === 'local' ? undefined : moreAdvanced(own, vote, sets)
  if (mayDefer && better !== undefined) {
    await ports.peers.stand(better.host, { volume }, ASK_TIMEOUT_MS)
    return { result: 'deferred', to: better.host }
  }
  // Whoever answers and has that view could be followed.
  if (vote.every((each) => isPassed(each, vote)))
    return failed('a set of which this host has not heard is known to be committed')
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
  return lead(candidate, epoch, elected, own.nonce, { degraded: withoutAbsent(elected) })
}

/** W4: the other data member has not answered, so this host stands without it. Not with a restart, which is of the set that there is. */
function withoutAbsent({ view, views, promises, isRestart }: Elected): readonly Member[] | undefined {
  const newest = views.at(-1)
  if (isRestart || newest === undefined || !sameMembers(newest.members, view.members)) return undefined
  return degradedSet(view.members, promises)
}

/** Who learns may vote by a view that a witness alone has. It had everything before that was made (M1). */
function mayHaveJoined(own: Foresight): boolean {
  const isLearner = ({ role, store }: Member): boolean => role === 'learner' && store === own.store
  return viewsOf(own).some(({ members }) => hasWitness(members) && members.some(isLearner))
}

function mostAdvancedOf(own: Foresight, vote: readonly Foresight[]): Foresight {
  return vote.reduce((best, each) => (compareHeads(each.head, best.head) > 0 ? each : best), own)
}

/** In mode `local` only the primary knows what it has acknowledged: nobody else goes on without it. */
function mayStand({ host }: ViewPorts, own: Foresight, view: ViewPayload): boolean {
  return own.mode !== 'local' || view.primary === host
}

/** Members hang on another leader: this host promises what they did, with which it is no primary any more, and follows. */
async function followOn({ ports, volume }: Candidate, own: Foresight, leader: Epoch): Promise<void> {
  if (compareEpochs(leader, own.promised) > 0) await ports.engine.promise(volume, leader)
  await ports.follow(volume, leader.host)
}
