/**
 * An operator says that a majority of a volume's members is lost for good: one that is left goes on alone, with what it has
 * (docs/protocol.md, "Force").
 */
import { compareEpochs, compareHeads, EPOCH_NONE, hexToBytes } from '@cloudfs/interface'
import { ForceError } from '../errors.js'
import { epochAbove, judge } from './ballot.js'
import { canLead, type Candidate, failed, type Outcome } from './candidate.js'
import { gather } from './gather.js'
import { makeView, untilAdopted, untilLeading } from './lead.js'
import { hostsOf, viewsOf, votersOf } from './sets.js'
import { refusalLog, type Vote } from './votes.js'

/** Every member that is there at all has answered by then. */
const ASK_ALL_MS = 2_000
/** More elections than hosts can have that nobody hears of. */
const LEAP = 2 ** 32

/** @throws {ForceError} the volume is led, can be without force, or another member has more */
export async function force(candidate: Candidate): Promise<Outcome> {
  const { ports, volume, heard } = candidate
  const { engine, host } = ports
  const own = await engine.wouldPromise(volume, { ...EPOCH_NONE, host })
  const view = viewsOf(own).at(-1)
  if (view === undefined || !canLead(view, host, own.store)) return { result: 'not-a-member' }
  const answers = await askAll(candidate, { ...own, ...heard, host })
  refuseNeedless(candidate, answers)
  const best = answers.find(
    (each) => canLead(view, each.host, each.store) && compareHeads(each.head, own.head) > 0,
  )
  if (best !== undefined)
    throw new ForceError(`host ${best.host} has more of volume ${volume}: force it there`, {
      volume,
      host: best.host,
    })

  // Those that are lost know nothing of it, if they are not: nothing that they come to call their own is above it. It is itself
  // above all that another went on with by force, which is lost too.
  const passed = answers.flatMap(({ passedBy }) => passedBy ?? []).sort(compareEpochs)
  const { counter } = epochAbove(answers, host, passed.at(-1))
  const epoch = { counter: counter + LEAP, host }
  await engine.promise(volume, epoch, { isForced: true })
  const members = [{ host, store: own.store, role: 'data' as const }]
  const { stamp, payload } = makeView(ports, {
    epoch,
    nonce: hexToBytes(own.nonce),
    members,
    leaseMs: view.leaseMs,
  })
  await engine.lead(volume, { epoch, stamp, head: own.head })
  const holders = await untilAdopted(candidate, epoch, (who) => who.some((each) => each.host === host))
  if (holders === undefined || holders === 'outbid') return failed('this host does not come to lead')
  await engine.beginView(volume, { epoch, payload, isRestart: true })
  return untilLeading(candidate, epoch)
}

/** This host's own answer is among them. */
async function askAll({ ports, volume, signal }: Candidate, own: Vote): Promise<Vote[]> {
  const hosts = hostsOf(viewsOf(own).map(votersOf)).filter((each) => each !== ports.host)
  const asked = { volume, epoch: { ...EPOCH_NONE, host: ports.host } }
  const questions = hosts.map(async (each): Promise<Vote> => {
    const answer = await ports.peers.foresee(each, asked, ASK_ALL_MS)
    return { ...answer, host: each }
  })
  const onRefused = refusalLog(ports, volume)
  const options = { clock: ports.clock, timeoutMs: ASK_ALL_MS, signal, onRefused }
  return [own, ...(await gather(questions, options))]
}

function refuseNeedless({ ports, volume }: Candidate, answers: readonly Vote[]): void {
  // This host may be primary itself, and have nobody who confirms it.
  const led = answers.find(
    ({ host, role, remainingMs }) => (role === 'primary' && host !== ports.host) || remainingMs > 0,
  )
  if (led !== undefined)
    throw new ForceError(`volume ${volume} is led, or was a moment ago, as host ${led.host} says`, {
      volume,
      host: led.host,
    })
  const promises = answers.map(({ host, ...standing }) => ({ host, standing }))
  const isLocal = answers.some(({ mode }) => mode === 'local')
  if (!isLocal && judge(promises, true).result === 'elected')
    throw new ForceError(`enough members of volume ${volume} answer: one of them will lead it`, { volume })
}
