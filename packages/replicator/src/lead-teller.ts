/**
 * Tells hosts that have a volume of this host's attached that it leads, so that their endpoints have a route at once, and
 * those that had it that they have it no longer. A host that cannot be told is when it is up again.
 */
import { type HostId, isCloudfsError, type VolumeId, type VolumeStatus } from '@cloudfs/interface'
import type { PeerNode } from '@cloudfs/peers'
import type { Logger } from 'pino'
import type { Holders } from './holders.js'
import { type Lead, tellLead } from './peer-requests.js'

/** Whoever hangs is told again, if it has the volume still. */
const TELL_TIMEOUT_MS = 2_000

interface LeadTellerOptions {
  readonly host: HostId
  readonly peers: PeerNode
  readonly holders: Holders
  /** Tells this host. */
  readonly told: (host: HostId, lead: Lead) => Promise<void>
  readonly log: Logger
}

export class LeadTeller {
  readonly #options: LeadTellerOptions
  /** What each host knows, by volume and host. */
  readonly #known = new Map<string, string>()

  constructor(options: LeadTellerOptions) {
    this.#options = options
  }

  /** This host has come to lead the volume, or who has it attached has changed. */
  async tell(volume: VolumeId): Promise<void> {
    try {
      const leads = await this.#options.holders.leads(volume)
      await Promise.all([...leads].map(([host, lead]) => this.#tellOne(volume, host, () => lead)))
    } catch (error) {
      this.#note(error, volume)
    }
  }

  /** Tells those that do not know yet. `volumes` are all that the store has. */
  mend(volumes: readonly VolumeStatus[]): void {
    const { peers, log } = this.#options
    for (const { volume, role, serving, epoch, attach } of volumes) {
      if (role !== 'primary' || !serving) continue
      for (const { host } of attach.holders) {
        const isUp = host === this.#options.host || peers.member(host)?.state === 'up'
        if (!isUp || this.#known.get(keyOf(volume, host)) === stateOf({ epoch, revision: attach.revision }))
          continue
        this.#tellOne(volume, host, () => this.#options.holders.lead(volume, host)).catch(
          (error: unknown) => {
            log.error({ err: error }, 'a bug')
          },
        )
      }
    }
  }

  /** A host that was away may have been started anew. */
  forget(host: HostId): void {
    for (const key of this.#known.keys()) if (key.endsWith(host)) this.#known.delete(key)
  }

  /** This host's engine was. */
  forgetAll(): void {
    this.#known.clear()
  }

  async #tellOne(volume: VolumeId, host: HostId, find: () => Lead | Promise<Lead>): Promise<void> {
    const { host: self, told, peers } = this.#options
    try {
      const lead = await find()
      if (host === self) await told(self, lead)
      else await peers.request(host, tellLead, lead, { timeoutMs: TELL_TIMEOUT_MS })
      if (lead.holder === undefined) this.#known.delete(keyOf(volume, host))
      else this.#known.set(keyOf(volume, host), stateOf(lead))
    } catch (error) {
      this.#note(error, volume, host)
    }
  }

  #note(error: unknown, volume: VolumeId, host?: HostId): void {
    if (!isCloudfsError(error)) throw error
    this.#options.log.info({ volume, host, err: error }, 'who has a volume attached is not told who leads')
  }
}

function keyOf(volume: VolumeId, host: string): string {
  return `${volume} ${host}`
}

function stateOf({ epoch, revision }: Pick<Lead, 'epoch' | 'revision'>): string {
  return `${String(epoch.counter)} ${epoch.host} ${String(revision)}`
}
