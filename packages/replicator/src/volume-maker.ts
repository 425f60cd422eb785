/** Makes volumes and branches of which this host is the primary: their secret, its slices, the creation record. */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { encodeCreate, type Mode, NONCE_BYTES } from '@cloudfs/format'
import {
  bytesToHex,
  type CreateArguments,
  type CreateResult,
  HostId,
  hexToBytes,
  type StampHash,
  StoreId,
  type VolumeId,
} from '@cloudfs/interface'
import { newView } from '@cloudfs/protocol'
import type { EngineSupervisor } from './engine-supervisor.js'
import { CreationGivenUpError } from './errors.js'
import { viewOf } from './held-volumes.js'
import type { Made, Member } from './peer-requests.js'

/** The first view of a volume. */
const FIRST_COUNTER = 1
/** A majority of the hosts, all up a moment ago, takes a creation in a tenth of a second; a busy one in seconds. */
export const COMMIT_TIMEOUT_MS_DEFAULT = 20_000

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
  /** The version to branch, one that the parent was at a short while ago. */
  readonly version?: string | undefined
}

interface VolumeMakerOptions {
  readonly engine: EngineSupervisor
  readonly host: HostId
  /** The volume is not to be: no majority has taken it. */
  readonly giveUp: (volume: VolumeId) => void
  /** How long a majority may take to take a volume. */
  readonly commitTimeoutMs: number
}

export class VolumeMaker {
  readonly #options: VolumeMakerOptions

  constructor(options: VolumeMakerOptions) {
    this.#options = options
  }

  /**
   * Resolves when the creation is committed: before that nobody has the volume, after it everybody will.
   *
   * @throws {CreationGivenUpError} no majority of the members took it in time
   */
  create(plan: VolumePlan): Promise<Made> {
    const creation = this.#creation(plan)
    return this.#made(creation, this.#options.engine.result('create', creation.arguments))
  }

  /** @throws as `create` */
  branch({ parent, snapshot, version, ...plan }: BranchPlan): Promise<Made> {
    const from = snapshot === undefined ? parent : `${parent}@${snapshot}`
    const point = { from, ...(version !== undefined && { version }) }
    // The core puts in the parent's size and the point where the branch leaves it.
    const creation = this.#creation({ ...plan, sizeBytes: 0 })
    return this.#made(creation, this.#options.engine.result('branch', { ...point, ...creation.arguments }))
  }

  async #made({ stampHash }: { stampHash: StampHash }, made: Promise<CreateResult>): Promise<Made> {
    const late = new AbortController()
    const { commitTimeoutMs } = this.#options
    try {
      const result = await Promise.race([made, delay(commitTimeoutMs, undefined, { signal: late.signal })])
      if (result === undefined) return await this.#givenUp(stampHash)
      const volumes = await this.#options.engine.result('volumes', {})
      const members = volumes.find(({ volume }) => volume === result.volume)?.members ?? []
      return { ...result, inStep: members.flatMap(({ state, host }) => (state === 'in-step' ? host : [])) }
    } finally {
      late.abort()
      made.catch(() => undefined)
    }
  }

  async #givenUp(stampHash: StampHash): Promise<never> {
    const volumes = await this.#options.engine.result('volumes', { all: true })
    const status = volumes.find((each) => viewOf(each).stampHash === stampHash)
    if (status !== undefined) this.#options.giveUp(status.volume)
    throw new CreationGivenUpError(
      'no majority of the chosen hosts took the volume in time; nothing stays of it',
    )
  }

  #creation(plan: VolumePlan): { arguments: CreateArguments; stampHash: StampHash } {
    const epoch = { counter: FIRST_COUNTER, host: this.#options.host }
    const nonce = new Uint8Array(randomBytes(NONCE_BYTES))
    const members = plan.members.map(({ host, store, publicKey, isWitness }) => ({
      host: HostId.parse(host),
      store: StoreId.parse(store),
      role: isWitness === true ? ('witness' as const) : ('data' as const),
      publicKey: hexToBytes(publicKey),
    }))
    const view = newView(
      { nonce, epoch, primary: this.#options.host, members },
      (count) => new Uint8Array(randomBytes(count)),
    )
    const { sizeBytes, name, mode } = plan
    const payload = encodeCreate({ sizeBytes: BigInt(sizeBytes), name, mode, nonce, view: view.payload })
    const { stampHash } = view.payload
    return { arguments: { stamp: view.stamp, payload: bytesToHex(payload), epoch }, stampHash }
  }
}
