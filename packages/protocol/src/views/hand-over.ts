/** A primary has another host lead in its stead (docs/protocol.md, H1): clients wait from the resignation to the view change. */
import {
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
import { lead, makeView, type PreparedView } from './lead.js'
import { type Resignation, signResignation } from './resignation.js'
import { hostsOf, viewsOf, votersOf } from './sets.js'
import { collectPromises } from './votes.js'

/** A host that is to lead in this one's stead does by then, or another will. */
export const HAND_OVER_MS = 5_000
/** Who is not ready by then is not waited for. */
const READY_MS = 1_000

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
  const getReady = async (host: HostId): Promise<void> => {
    try {
      await peers.ready(host, { volume, next }, READY_MS)
    } catch (error) {
      if (!isCloudfsError(error)) throw error
      log({ volume, message: 'a member does not get ready', detail: { host, code: error.code } })
    }
  }
  await Promise.all([engine.sync(), ...others.map(getReady)])
  const { epoch, head, stamp, promise } = await engine.resign(volume, next)
  const resigned = signResignation(volume, epoch, seed)
  await peers.take(next.host, { volume, head, stamp, resigned, promise }, HAND_OVER_MS)
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
  const above = epochAbove([own], ports.host, resigned.epoch)
  const isPromised =
    promise !== undefined &&
    promise.promised.host === ports.host &&
    compareEpochs(promise.promised, above) >= 0
  const elected = await collectPromises(candidate, isPromised ? promise.promised : above, {
    sets: views.map(votersOf),
    resigned,
    ...(isPromised && { given: [{ host: resigned.epoch.host, standing: promise }] }),
  })
  if ('why' in elected) return elected
  const epoch = isPromised ? promise.promised : above
  return lead(candidate, epoch, elected, own.nonce, { stamp, prepared })
}
