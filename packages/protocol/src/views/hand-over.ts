/** A primary has another host lead in its stead (docs/protocol.md, H1): clients wait from the resignation to the view change. */
import type { ViewPayload } from '@cloudfs/format'
import {
  bytesToHex,
  compareEpochs,
  EPOCH_NONE,
  type Epoch,
  type Head,
  hexToBytes,
  isCloudfsError,
  type Stamp,
} from '@cloudfs/interface'
import type { HostId, Standing } from '@cloudfs/interface'
import { HandOverError } from '../errors.js'
import { epochAbove } from './ballot.js'
import { canLead, type Candidate, type Outcome } from './candidate.js'
import { callMembers, lead, makeView, type PreparedView, untilLeading } from './lead.js'
import type { ViewPorts } from './ports.js'
import { type Resignation, signResignation } from './resignation.js'
import { hostsOf, viewsOf, votersOf } from './sets.js'
import { collectPromises } from './votes.js'

/** A host that is to lead in this one's stead does by then, or another will. */
export const HAND_OVER_MS = 5_000
/** Who is not ready by then is not waited for. */
const READY_MS = 1_000
/** A disk that is slower is so whenever it is asked. */
const SYNCS_MAX = 4
const SHORT_SYNC_MS = 3
const PAD_BYTES = 32

/** What a primary gives to the host that is to lead in its stead. */
export interface HandedOver {
  readonly resigned: Resignation
  readonly head: Head
  /** Of the head's view. */
  readonly stamp: Stamp
  /** What the primary has promised that host as it resigned. */
  readonly promise?: Standing | undefined
}

/** Refuses a host that could not lead now. @returns the epoch in which it is to lead */
export async function epochFor({ ports, volume }: Candidate, to: HostId): Promise<Epoch> {
  const { engine, peers, host } = ports
  const asked = { ...EPOCH_NONE, host }
  const theirs = await peers.foresee(to, { volume, epoch: asked }, HAND_OVER_MS)
  if (theirs.mode === 'local')
    throw new HandOverError(
      `volume ${volume} is in mode local: only its primary knows that it has everything`,
      { volume },
    )
  if (theirs.role !== 'follower' || theirs.recovering)
    throw new HandOverError(`host ${to} has not all of volume ${volume}, it cannot lead it`, {
      volume,
      host: to,
    })
  const view = viewsOf(theirs).at(-1)
  if (view !== undefined && !canLead(view, to, theirs.store))
    throw new HandOverError(`host ${to} does not keep the data of volume ${volume}, it cannot lead it`, {
      volume,
      host: to,
    })
  return epochAbove([theirs, await engine.wouldPromise(volume, asked)], to)
}

/** From the engine's resignation on there is no way back: if the other host cannot lead, whoever stands first does. */
export async function handOver({ ports, volume }: Candidate, next: Epoch): Promise<void> {
  const { engine, peers, seed, log } = ports
  const own = await engine.wouldPromise(volume, { ...EPOCH_NONE, host: ports.host })
  // What is synced and made while clients are served is not waited for when they are not.
  const others = hostsOf(viewsOf(own).map(votersOf)).filter((host) => host !== ports.host)
  let pad: string | undefined
  const getReady = async (host: HostId): Promise<void> => {
    try {
      const answer = await peers.ready(host, { volume, next }, READY_MS)
      if (host === next.host) ({ pad } = answer)
    } catch (error) {
      if (!isCloudfsError(error)) throw error
      log({ volume, message: 'a member does not get ready', detail: { host, code: error.code } })
    }
  }
  await Promise.all([syncToTheEnd(ports), ...others.map(getReady)])
  const { epoch, head, stamp, promise } = await engine.resign(volume, next, pad)
  const resigned = signResignation(volume, epoch, seed)
  await peers.take(next.host, { volume, head, stamp, resigned, promise }, HAND_OVER_MS)
}

/** Clients write while it syncs: so again, until a sync has so little to do that the next one will have as little. */
export async function syncToTheEnd({ engine, clock }: ViewPorts): Promise<void> {
  for (let syncs = 0; syncs < SYNCS_MAX; syncs++) {
    const begunMs = clock.nowMs()
    await engine.sync()
    if (clock.nowMs() - begunMs < SHORT_SYNC_MS) return
  }
}

/** What can be done before the primary resigns. */
export interface Prepared extends PreparedView {
  /** As it was then. */
  readonly own: Standing
}

/** This host is to lead in that epoch. @returns undefined: as it stands it could not */
export async function prepare({ ports, volume }: Candidate, next: Epoch): Promise<Prepared | undefined> {
  const own = await ports.engine.wouldPromise(volume, { ...EPOCH_NONE, host: ports.host })
  // Who leads, or was elected, is handed nothing over: it would let in by another stamp than its own meanwhile.
  if (own.role !== 'follower') return undefined
  const view = viewsOf(own).at(-1)
  if (view === undefined || !canLead(view, ports.host, own.store)) return undefined
  const { members, leaseMs } = view
  const plan = { epoch: next, nonce: hexToBytes(own.nonce), members, leaseMs }
  return { epoch: next, own, view: makeView(ports, plan) }
}

/**
 * Has this host's engine go on by itself when the primary's says that it has resigned.
 *
 * @returns what that has to know for it; undefined: the engine would not
 */
export async function expectHand(
  { ports, volume }: Candidate,
  { epoch, view: { stamp, payload } }: Prepared,
): Promise<string | undefined> {
  const pad = bytesToHex(ports.randomBytes(PAD_BYTES))
  try {
    await ports.engine.expectHand(volume, { epoch, stamp, payload, pad })
    return pad
  } catch (error) {
    if (!isCloudfsError(error)) throw error
    ports.log({ volume, message: 'the engine waits for no hand-over', detail: { code: error.code } })
    return undefined
  }
}

/** The primary has resigned in favour of this host: no lease is waited for, no slice asked for. */
export async function takeOver(
  candidate: Candidate,
  { resigned, stamp, promise }: HandedOver,
  prepared: Prepared | undefined,
): Promise<Outcome> {
  const { ports, volume } = candidate
  const own = prepared?.own ?? (await ports.engine.wouldPromise(volume, { ...EPOCH_NONE, host: ports.host }))
  const views = viewsOf(own)
  if (!views.some((view) => canLead(view, ports.host, own.store))) return { result: 'not-a-member' }
  if (prepared !== undefined && (await isTakenBy(candidate, prepared.epoch)))
    return untilTaken(candidate, prepared.epoch, views)
  const above = epochAbove([own], ports.host, resigned.epoch)
  const isPromised =
    promise !== undefined &&
    promise.promised.host === ports.host &&
    compareEpochs(promise.promised, above) >= 0
  const epoch = isPromised ? promise.promised : above
  const elected = await collectPromises(candidate, epoch, {
    sets: views.map(votersOf),
    resigned,
    ...(isPromised && { given: [{ host: resigned.epoch.host, standing: promise }] }),
  })
  if ('why' in elected) return elected
  try {
    return await lead(candidate, epoch, elected, own.nonce, { stamp, prepared })
  } catch (error) {
    // Its engine was told by the other's, and has done it.
    if (!isCloudfsError(error) || error.code !== 'ERR_IS_PRIMARY') throw error
    return untilTaken(candidate, epoch, elected.views)
  }
}

/** Members that have not heard of it yet are told. */
async function untilTaken(
  candidate: Candidate,
  epoch: Epoch,
  views: readonly ViewPayload[],
): Promise<Outcome> {
  const calling = callMembers(candidate, epoch, hostsOf(views.map(({ members }) => members)))
  return untilLeading(candidate, epoch).finally(calling)
}

/** This host's engine was elected in that epoch already. */
async function isTakenBy({ ports, volume }: Candidate, epoch: Epoch): Promise<boolean> {
  const { promised, role } = await ports.engine.wouldPromise(volume, { ...EPOCH_NONE, host: ports.host })
  return role !== 'follower' && compareEpochs(promised, epoch) === 0
}
