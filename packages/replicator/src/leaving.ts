/**
 * Drops replicas of volumes that this host keeps no longer: when a majority of the set as it is now knows durably that it is
 * so, nobody will ever need them (M1). Before that an election may.
 */
import {
  compareEpochs,
  type Epoch,
  type HostId,
  isCloudfsError,
  type StoreId,
  type VolumeId,
  type VolumeStatus,
} from '@cloudfs/interface'
import type { PeerNode } from '@cloudfs/peers'
import { isVoter, majorityOf, type Member } from '@cloudfs/protocol'
import type { Logger } from 'pino'
import type { EngineSupervisor } from './engine-supervisor.js'
import { viewOf } from './held-volumes.js'
import { askSettled } from './set-requests.js'

const ASK_TIMEOUT_MS = 5_000

interface LeavingOptions {
  readonly host: HostId
  readonly store: () => StoreId
  readonly engine: EngineSupervisor
  readonly peers: PeerNode
  readonly log: Logger
}

/** What a member says of the set: the newest view that it knows to be committed. */
export type Settled = {
  readonly epoch: Epoch
  readonly members: Member[]
}

/**
 * Nobody will ever need this store's replica (`may_drop` of `test/model/rules.cc`).
 *
 * @param newest - of all that was said, and of what this host knows
 */
export function mayDrop(
  own: { readonly host: HostId; readonly store: StoreId; readonly promised: Epoch },
  newest: Settled,
  answers: ReadonlyMap<HostId, Settled>,
): boolean {
  if (newest.members.some(({ host, store }) => host === own.host && store === own.store)) return false
  // Who joins has promised whoever takes it in, and does not know yet that it is a member.
  if (compareEpochs(newest.epoch, own.promised) < 0) return false
  const voters = newest.members.filter(isVoter)
  const know = voters.filter(({ host }) => {
    const said = answers.get(host)
    return said !== undefined && compareEpochs(said.epoch, newest.epoch) >= 0
  })
  return know.length >= majorityOf(voters.length)
}

export class Leaving {
  readonly #options: LeavingOptions

  constructor(options: LeavingOptions) {
    this.#options = options
    const { engine, peers } = options
    peers.handle(askSettled, async ({ volume }) => {
      const before = await this.#settled(volume)
      // What the checkpoint holds is what was known when it was frozen, or more.
      await engine.call('checkpoint', {})
      return before
    })
  }

  /** `volumes` are all that the store has. */
  async mend(volumes: readonly VolumeStatus[]): Promise<void> {
    for (const status of volumes) {
      if (status.role !== 'follower' || status.deletionCommitted || !this.#isOut(viewOf(status).members))
        continue
      try {
        if (await this.#isSettled(status)) await this.#drop(status.volume)
      } catch (error) {
        if (!isCloudfsError(error)) throw error
        this.#options.log.info({ volume: status.volume, err: error }, 'a replica is dropped later')
      }
    }
  }

  async #isSettled({ volume, ...status }: VolumeStatus): Promise<boolean> {
    const { peers, host } = this.#options
    const answers = new Map<HostId, Settled>()
    let newest: Settled = { epoch: status.epoch, members: [...viewOf({ volume, ...status }).members] }
    // Whoever knows a newer set names others to ask.
    for (let asked = -1; asked < answers.size;) {
      asked = answers.size
      const questions = newest.members
        .filter((each) => isVoter(each) && each.host !== host && !answers.has(each.host))
        .map(async (voter) => {
          const said = await peers.request(voter.host, askSettled, { volume }, { timeoutMs: ASK_TIMEOUT_MS })
          answers.set(voter.host, said)
        })
      for (const each of await Promise.allSettled(questions))
        if (each.status === 'rejected' && !isCloudfsError(each.reason)) throw each.reason
      for (const said of answers.values()) if (compareEpochs(said.epoch, newest.epoch) > 0) newest = said
    }
    return mayDrop({ host, store: this.#options.store(), promised: status.promised }, newest, answers)
  }

  async #drop(volume: VolumeId): Promise<void> {
    const { engine, peers, log } = this.#options
    await engine.call('unfollow', { volume })
    await engine.call('drop', { volume, left: true })
    peers.withdraw(volume)
    log.info({ volume }, 'dropped a replica: this host keeps the volume no longer')
  }

  async #settled(volume: VolumeId): Promise<Settled> {
    const [status] = await this.#options.engine.result('volumes', { volume })
    if (status === undefined) return { epoch: { counter: 0, host: this.#options.host }, members: [] }
    const { members } = viewOf(status)
    return { epoch: status.epoch, members: members.map(({ host, store, role }) => ({ host, store, role })) }
  }

  #isOut(members: readonly { readonly host: HostId; readonly store: StoreId }[]): boolean {
    const { host, store } = this.#options
    return !members.some((member) => member.host === host && member.store === store())
  }
}
