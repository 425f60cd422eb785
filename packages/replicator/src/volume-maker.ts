/** Makes volumes and branches of which this host is the primary: their secret, its slices, the creation record. */
import { randomBytes } from 'node:crypto'
import { encodeCreate, type Mode, NONCE_BYTES } from '@cloudfs/format'
import {
  bytesToHex,
  type CreateResult,
  type Epoch,
  HostId,
  hexToBytes,
  StoreId,
  type VolumeId,
} from '@cloudfs/interface'
import { newView } from '@cloudfs/protocol'
import type { EngineSupervisor } from './engine-supervisor.js'
import type { Member } from './peer-requests.js'

/** The first view of a volume. */
const FIRST_COUNTER = 1

export interface VolumePlan {
  readonly sizeBytes: number
  readonly name: string
  readonly mode: Mode
  /** This host among them. */
  readonly members: readonly Member[]
}

export interface BranchPlan extends Omit<VolumePlan, 'sizeBytes'> {
  readonly parent: VolumeId
  /** Left out: the parent as it is now. */
  readonly snapshot?: string | undefined
}

export class VolumeMaker {
  readonly #engine: EngineSupervisor
  readonly #host: HostId

  constructor(engine: EngineSupervisor, host: HostId) {
    this.#engine = engine
    this.#host = host
  }

  /** Resolves when the creation is committed: before that nobody has the volume, after it everybody will. */
  create(plan: VolumePlan): Promise<CreateResult> {
    return this.#engine.result('create', this.#creation(plan))
  }

  branch({ parent, snapshot, ...plan }: BranchPlan): Promise<CreateResult> {
    const from = snapshot === undefined ? parent : `${parent}@${snapshot}`
    // The core puts in the parent's size and the point where the branch leaves it.
    return this.#engine.result('branch', { from, ...this.#creation({ ...plan, sizeBytes: 0 }) })
  }

  #creation(plan: VolumePlan): { stamp: string; payload: string; epoch: Epoch } {
    const epoch = { counter: FIRST_COUNTER, host: this.#host }
    const nonce = new Uint8Array(randomBytes(NONCE_BYTES))
    const members = plan.members.map(({ host, store, publicKey }) => ({
      host: HostId.parse(host),
      store: StoreId.parse(store),
      role: 'data' as const,
      publicKey: hexToBytes(publicKey),
    }))
    const view = newView(
      { nonce, epoch, primary: this.#host, members },
      (count) => new Uint8Array(randomBytes(count)),
    )
    const { sizeBytes, name, mode } = plan
    const payload = encodeCreate({ sizeBytes: BigInt(sizeBytes), name, mode, nonce, view: view.payload })
    return { stamp: view.stamp, payload: bytesToHex(payload), epoch }
  }
}
