/** Slices of the stamp of the view before (docs/protocol.md, E4): who was elected asks for them, members give theirs. */
import type { ViewPayload } from '@cloudfs/format'
import { bytesToHex, type Epoch, hexToBytes, type Stamp } from '@cloudfs/interface'
import { majorityOf, openSlice, type OpenSlice, recoverStamp } from '../stamp-slices.js'
import type { Elected } from './ballot.js'
import type { Candidate } from './candidate.js'
import { gather } from './gather.js'
import type { ViewPorts, ViewRequests } from './ports.js'
import { type Holders, isSame, viewOfHex, votersOf } from './sets.js'
import { ASK_TIMEOUT_MS, refusalLog } from './votes.js'

/** To the one that this replica has promised, once it holds that head. */
export async function giveSlice(
  { engine, host, store, seed }: ViewPorts,
  { volume, epoch, head }: ViewRequests['slice']['body'],
): Promise<ViewRequests['slice']['answer']> {
  const { view, nonce } = await engine.sliceCheck(volume, epoch, head)
  const scope = { nonce: hexToBytes(nonce), epoch: head.epoch }
  const { share } = openSlice(scope, viewOfHex(view), { host, store }, seed)
  return { store, share: bytesToHex(share) }
}

/** @returns undefined: too few came */
export async function askSlices(
  { ports, volume, signal }: Candidate,
  won: {
    readonly epoch: Epoch
    readonly head: Elected['head']
    readonly view: ViewPayload
    readonly holders: Holders
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
