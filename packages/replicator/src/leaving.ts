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
import { isVoter, majorityOf } from '@cloudfs/protocol'
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

/** What a member says of the set. */
type Settled = {
  readonly epoch: Epoch
  readonly voters: { readonly host: HostId; readonly store: StoreId }[]
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
    let newest: Settled = {
      epoch: status.epoch,
      voters: viewOf({ volume, ...status }).members.filter(isVoter),
    }
    // Whoever knows a newer set names others to ask.
    for (let asked = -1; asked < answers.size;) {
      asked = answers.size
      const questions = newest.voters
        .filter((voter) => voter.host !== host && !answers.has(voter.host))
        .map(async (voter) => {
          const said = await peers.request(voter.host, askSettled, { volume }, { timeoutMs: ASK_TIMEOUT_MS })
          answers.set(voter.host, said)
        })
      for (const each of await Promise.allSettled(questions))
        if (each.status === 'rejected' && !isCloudfsError(each.reason)) throw each.reason
      for (const said of answers.values()) if (compareEpochs(said.epoch, newest.epoch) > 0) newest = said
    }
    if (!this.#isOut(newest.voters)) return false
    const know = newest.voters.filter((voter) => {
      const said = answers.get(voter.host)
      return said !== undefined && compareEpochs(said.epoch, newest.epoch) >= 0
    })
    return know.length >= majorityOf(newest.voters.length)
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
    if (status === undefined) return { epoch: { counter: 0, host: this.#options.host }, voters: [] }
    const voters = viewOf(status).members.filter(isVoter)
    return { epoch: status.epoch, voters: voters.map(({ host, store }) => ({ host, store })) }
  }

  #isOut(members: readonly { readonly host: HostId; readonly store: StoreId }[]): boolean {
    const { host, store } = this.#options
    return !members.some((member) => member.host === host && member.store === store())
  }
}
