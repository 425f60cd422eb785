/** Drops replicas of volumes that this host keeps no longer, when nobody will ever need them (`mayDrop` says when). */
import {
  type Epoch,
  type HostId,
  isCloudfsError,
  type StoreId,
  type VolumeId,
  type VolumeStatus,
} from '@cloudfs/interface'
import type { PeerNode } from '@cloudfs/peers'
import { findWhetherMayDrop, isOut, type Settled } from '@cloudfs/protocol'
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

export class Leaving {
  readonly #options: LeavingOptions

  constructor(options: LeavingOptions) {
    this.#options = options
    const { engine, peers } = options
    peers.handle(askSettled, async ({ volume, store }) => {
      const before = await this.#settled(volume)
      // What the checkpoint holds is what was known when it was frozen, or more. Of one that is a member nothing depends on it.
      if (!before.members.some((each) => each.store === store)) await engine.call('checkpoint', {})
      return before
    })
  }

  /** `volumes` are all that the store has. */
  async mend(volumes: readonly VolumeStatus[]): Promise<void> {
    const { host, store, engine } = this.#options
    const follows = await engine.result('follows', {})
    const passed = new Set<string>(
      follows.filter(({ error }) => error?.code === 'ERR_VIEW_FORCED').map(({ volume }) => volume),
    )
    for (const status of volumes) {
      if (status.role !== 'follower' || status.deletionCommitted || status.left) continue
      const isPassedByForce = passed.has(status.volume)
      // Whoever was away when the set changed may never hear of it but so: it is nobody's member to be called any more.
      if (status.led && !isPassedByForce && !isOut(viewOf(status), { host, store: store() })) continue
      try {
        const epoch = await this.#mayDrop(status, isPassedByForce)
        if (epoch !== undefined) await this.#drop(status.volume, epoch)
      } catch (error) {
        if (!isCloudfsError(error)) throw error
        this.#options.log.info({ volume: status.volume, err: error }, 'a replica is dropped later')
      }
    }
  }

  #mayDrop(status: VolumeStatus, isPassedByForce: boolean): Promise<Epoch | undefined> {
    const { peers, host, store } = this.#options
    const { volume, promised } = status
    return findWhetherMayDrop(
      { host, store: store(), promised, isPassedByForce },
      { epoch: status.epoch, members: viewOf(status).members },
      (voter) => peers.request(voter, askSettled, { volume, store: store() }, { timeoutMs: ASK_TIMEOUT_MS }),
    )
  }

  async #drop(volume: VolumeId, epoch: Epoch): Promise<void> {
    const { engine, peers, log } = this.#options
    await engine.call('unfollow', { volume })
    await engine.call('drop', { volume, left: true, epoch })
    peers.withdraw(volume)
    log.info({ volume }, 'dropped a replica: this host keeps the volume no longer')
  }

  async #settled(volume: VolumeId): Promise<Settled> {
    const [status] = await this.#options.engine.result('volumes', { all: true, volume })
    // Who has left says what it knew: to one that knows nobody else it names those that may know more.
    if (status === undefined || !(status.left || (status.established && !status.deleted)))
      return { epoch: { counter: 0, host: this.#options.host }, members: [] }
    const { members } = viewOf(status)
    return { epoch: status.epoch, members: members.map(({ host, store, role }) => ({ host, store, role })) }
  }
}
