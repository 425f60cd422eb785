/**
 * What a host does that is about to lead a volume, by a hand-over, while clients are served yet: has the members, and the hosts
 * that have the volume attached, connect to its engine, which lets them in when it leads (docs/protocol.md, "Hand-over"). All of it
 * is to save time: where it fails they connect when they are told who leads.
 */
import {
  type Epoch,
  type HostId,
  isCloudfsError,
  NotPrimaryError,
  type Stamp,
  type VolumeId,
} from '@cloudfs/interface'
import type { PeerNode } from '@cloudfs/peers'
import { NotTheCandidateError } from '@cloudfs/protocol'
import type { Logger } from 'pino'
import type { Attachments } from './attachments.js'
import type { EngineSupervisor } from './engine-supervisor.js'
import type { Leading } from './leading.js'
import { tellNextLead } from './peer-requests.js'
import { tellNext } from './view-requests.js'

/** Who does not answer by then is not waited for: clients do not wait yet, whoever moves the volume does. */
const TELL_TIMEOUT_MS = 300

interface HeirOptions {
  readonly host: HostId
  readonly engine: EngineSupervisor
  readonly peers: PeerNode
  readonly leading: Leading
  readonly attachments: Attachments
  readonly log: Logger
}

/** What is about to come. */
export interface Succession {
  readonly volume: VolumeId
  readonly epoch: Epoch
  readonly stamp: Stamp
  /** Of the view to come. */
  readonly members: readonly HostId[]
}

export class Heir {
  readonly #options: HeirOptions

  constructor(options: HeirOptions) {
    this.#options = options
    const { peers, engine, attachments } = options
    peers.handle(tellNext, async ({ volume, epoch, way }, caller) => {
      if (epoch.host !== caller)
        throw new NotTheCandidateError(`host ${caller} asks for an epoch of host ${epoch.host}`)
      await engine.call('follow-next', { volume, leader: caller, ...way })
      return {}
    })
    peers.handle(tellNextLead, (next, caller) => {
      if (next.epoch.host !== caller)
        throw new NotPrimaryError(`host ${caller} leads in no epoch of host ${next.epoch.host}`)
      attachments.toldNext(caller, next)
      return Promise.resolve({})
    })
  }

  /** Resolves when all have been told, or soon. */
  async prepare({ volume, epoch, stamp, members }: Succession): Promise<void> {
    const { engine, host, peers, leading } = this.#options
    const limit = { timeoutMs: TELL_TIMEOUT_MS }
    try {
      await engine.call('expect-lead', { volume, epoch, stamp })
      const [status] = await engine.result('volumes', { volume })
      await Promise.all([
        ...members.map(async (member) => {
          if (member === host) return
          const way = await leading.wayToFollow(volume, member)
          await this.#tell(volume, peers.request(member, tellNext, { volume, epoch, way }, limit))
        }),
        ...(status?.attach.holders ?? []).map(async (holder) => {
          if (holder.host === host) return
          const way = await leading.wayFor(volume, holder.host)
          const next = { volume, epoch, session: holder.session, way }
          await this.#tell(volume, peers.request(holder.host, tellNextLead, next, limit))
        }),
      ])
    } catch (error) {
      this.#note(volume, error)
    }
  }

  async #tell(volume: VolumeId, told: Promise<unknown>): Promise<void> {
    try {
      await told
    } catch (error) {
      this.#note(volume, error)
    }
  }

  #note(volume: VolumeId, error: unknown): void {
    if (!isCloudfsError(error)) throw error
    this.#options.log.info({ volume, err: error }, 'a host does not connect before the volume is led here')
  }
}
