/** A primary has its volume's set changed, and leads on (docs/protocol.md, M1). */
import { compareEpochs, type Epoch, EPOCH_NONE, type Foresight } from '@cloudfs/interface'
import { epochAbove } from './ballot.js'
import { type Candidate, failed, type Outcome, type SetChange } from './candidate.js'
import { gather } from './gather.js'
import { lead } from './lead.js'
import { agree, type Member, viewsOf, votersOf } from './sets.js'
import { ASK_TIMEOUT_MS, collectPromises, preVote, refusalLog, storeOf, type Vote } from './votes.js'

/** Between two questions whether a change of the set is known to be committed. */
const KNOWN_AGAIN_MS = 20

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
