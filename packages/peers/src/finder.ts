/**
 * Which hosts hold a volume that nobody told us about.
 *
 * Hosts announce the volumes they hold to the distributed hash table, whose records go stale; so whoever is found there
 * is asked, and where that yields nobody, all members are. In a small cluster all are asked at once: it takes one round
 * trip and finds every holder. Safety never rests on what is found here (DESIGN §8).
 */
import './promise-with-resolvers.js'
import { type HostId, VolumeId } from '@cloudfs/interface'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { sha256 } from 'multiformats/hashes/sha2'
import type { Contacts } from './contacts.js'
import { Deadline, sharedAbortController } from './deadline.js'
import { PeerTimeoutError } from './errors.js'
import { Gate } from './gate.js'
import type { PeerLimits } from './limits.js'
import { WhoHas } from './own-requests.js'
import type { RequestClient, RequestOptions } from './request-client.js'
import type { RequestServer } from './request-server.js'
import type { Roster } from './roster.js'
import type { Swarm } from './swarm.js'

export interface FinderOptions {
  readonly swarm: Swarm
  readonly roster: Roster
  readonly contacts: Contacts
  readonly client: RequestClient
  readonly server: RequestServer
  readonly limits: PeerLimits
}

export class Finder {
  readonly #options: FinderOptions
  readonly #held = new Set<VolumeId>()
  /** Held, and waiting to be announced to the hash table. */
  readonly #unprovided = new Set<VolumeId>()
  /** Held, and announcing it failed: tried again when a member comes up. */
  readonly #failed = new Set<VolumeId>()
  #providing = 0
  readonly #closed = sharedAbortController()

  constructor(options: FinderOptions) {
    this.#options = options
    options.server.handle(WhoHas, ({ volume }) => ({ has: this.#held.has(volume) }))
    options.roster.on('transition', ({ state }) => {
      if (state !== 'up') return
      for (const volume of this.#failed) this.#unprovided.add(volume)
      this.#failed.clear()
      this.#provideWaiting()
    })
  }

  /** This host holds the volume from now on, and answers so. The hash table learns of it in the background. */
  provide(volume: VolumeId): void {
    if (this.#held.has(volume)) return
    this.#held.add(volume)
    if (this.#options.swarm.services.dht === undefined) return
    this.#unprovided.add(volume)
    this.#provideWaiting()
  }

  /** This host no longer holds the volume. Records of it in the hash table run out; until then it answers that it has not. */
  withdraw(volume: VolumeId): void {
    this.#held.delete(volume)
    this.#unprovided.delete(volume)
    this.#failed.delete(volume)
  }

  /**
   * Hosts that said just now that they hold the volume, this one included. In a large cluster not necessarily all of them;
   * none if no member that answers holds it.
   *
   * @throws the signal's reason
   */
  async find(volume: VolumeId, options: RequestOptions): Promise<HostId[]> {
    const { limits, roster } = this.#options
    const own = this.#held.has(volume) ? [roster.hostId] : []
    const members = roster
      .members()
      .filter((member) => member.state !== 'down')
      .map((member) => member.announcement.hostId)
    if (members.length > limits.askAllMax) {
      const found = await this.#ask(await this.#lookUp(volume, options.signal), volume, options)
      if (found.length > 0) return [...own, ...found]
    }
    return [...own, ...(await this.#ask(members, volume, options))]
  }

  close(): void {
    this.#closed.abort(new Error('the node is closed'))
  }

  /** Those of `hosts` that hold the volume. A host that fails to answer counts as one that does not. */
  async #ask(hosts: readonly HostId[], volume: VolumeId, options: RequestOptions): Promise<HostId[]> {
    const { client, contacts, limits } = this.#options
    const timeoutMs = options.timeoutMs ?? limits.requestTimeoutMs
    const late = () => new PeerTimeoutError('not all hosts answered in time')
    using deadline = new Deadline(timeoutMs, late, options.signal, this.#closed.signal)
    const { signal } = deadline
    const gate = new Gate(limits.askConcurrency, hosts.length)
    const full = () => new Error('as many places as hosts')
    const answers = await Promise.all(
      hosts.map((host) =>
        gate.run(async () => {
          try {
            const connect = (each: AbortSignal) => contacts.reach(host, each)
            return (await client.request(host, connect, WhoHas, { volume }, { timeoutMs, signal })).has
          } catch {
            return false
          }
        }, full),
      ),
    )
    options.signal?.throwIfAborted()
    return hosts.filter((_, index) => answers[index])
  }

  /** Members that the hash table names. */
  async #lookUp(volume: VolumeId, signal: AbortSignal | undefined): Promise<HostId[]> {
    const { limits, roster, swarm } = this.#options
    if (swarm.services.dht === undefined) return []
    const late = () => new PeerTimeoutError('the distributed hash table did not answer in time')
    using deadline = new Deadline(limits.dhtTimeoutMs, late, signal, this.#closed.signal)
    const found = new Set<HostId>()
    try {
      for await (const { id } of swarm.contentRouting.findProviders(await cidOf(volume), {
        signal: deadline.signal,
      })) {
        const host = id.publicKey === undefined ? undefined : roster.hostOf(id.publicKey.raw)
        if (host !== undefined && host !== roster.hostId) found.add(host)
      }
    } catch {
      // Out of time, or nobody to ask: what was found until then counts, and all members are asked if it is nothing.
    }
    return [...found]
  }

  #provideWaiting(): void {
    const { limits, roster } = this.#options
    if (!roster.members().some((member) => member.state === 'up')) return
    for (const volume of this.#unprovided) {
      if (this.#providing >= limits.providesMax || this.#closed.signal.aborted) return
      this.#unprovided.delete(volume)
      this.#providing++
      this.#provideOne(volume)
        .catch(() => {
          if (this.#held.has(volume)) this.#failed.add(volume)
        })
        .finally(() => {
          this.#providing--
          this.#provideWaiting()
        })
        .catch(() => undefined)
    }
  }

  async #provideOne(volume: VolumeId): Promise<void> {
    const { limits, swarm } = this.#options
    const late = () => new PeerTimeoutError('the distributed hash table did not answer in time')
    using deadline = new Deadline(limits.dhtTimeoutMs, late, this.#closed.signal)
    await swarm.contentRouting.provide(await cidOf(volume), { signal: deadline.signal })
  }
}

/** The hash table is keyed by content ids. */
async function cidOf(volume: VolumeId): Promise<CID> {
  return CID.createV1(raw.code, await sha256.digest(VolumeId.toBytes(volume)))
}
