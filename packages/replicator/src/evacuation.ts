/**
 * Hosts that are to keep nothing, so that they can be taken away. A host that is up records that it is to go and says so to
 * everybody, so that it outlasts whoever asked, and any restart; of one that is gone the others are told, for as long as it is.
 * What is to be done about it the primary of each volume does by itself (membership.ts), and here is said how far that is.
 */
import type { Answer } from '@cloudfs/http'
import { HostId, isCloudfsError } from '@cloudfs/interface'
import { type PeerNode, UnknownHostError } from '@cloudfs/peers'
import type { Logger } from 'pino'
import type { Catalogue, Found } from './catalogue.js'
import type { EngineSupervisor } from './engine-supervisor.js'
import type { Membership, Work } from './membership.js'
import { askEvacuate } from './set-requests.js'

const ASK_TIMEOUT_MS = 3_000

type Wanted = 'leave' | 'stay'
type Leftover = Answer<'evacuation'>['volumes'][number]

/** What one host says. */
interface Said {
  readonly isLeaving: boolean
  readonly keptCount: number
  readonly work: readonly Work[]
}

/** This host's own mark. */
export interface Draining {
  isSet(): boolean
  set(isWanted: boolean): Promise<void>
}

interface EvacuationOptions {
  readonly host: HostId
  readonly engine: EngineSupervisor
  readonly peers: PeerNode
  readonly catalogue: Catalogue
  readonly membership: () => Membership
  readonly draining: Draining
  /** Something is to be done for volumes led here, perhaps. */
  readonly changed: () => void
  readonly log: Logger
}

export class Evacuation {
  readonly #options: EvacuationOptions
  /** Hosts that are gone, and are to go for good. */
  readonly #told = new Set<HostId>()

  constructor(options: EvacuationOptions) {
    this.#options = options
    const { peers, changed } = options
    peers.handle(askEvacuate, async ({ host, wanted }) => {
      if (wanted !== undefined) await this.#take(host, wanted)
      return this.#sayHere(host)
    })
    peers.on('member-up', ({ hostId }) => {
      // What it says of itself counts now. Others may have been away when they were told.
      this.#told.delete(hostId)
      for (const host of this.#told) this.#spread(hostId, host)
    })
    peers.on('member-changed', ({ info }) => {
      if (info.draining) changed()
    })
  }

  /** Whether the host is to keep nothing, as far as this one knows. */
  isLeaving(host: HostId): boolean {
    const { peers, draining } = this.#options
    if (host === this.#options.host) return draining.isSet()
    const member = peers.member(host)
    return member?.info.draining === true || (this.#told.has(host) && member?.state !== 'up')
  }

  /**
   * @throws {UnknownHostError}
   * @throws {TooFewHostsError} no other host could take some of what it keeps; nothing has changed
   * @throws what reaching the host fails with, if it is up
   */
  async begin(reference: string): Promise<Answer<'evacuate'>> {
    const host = this.#known(reference)
    const { catalogue, membership, log } = this.#options
    const all = [...(await catalogue.all()).values()].map(({ volume }) => volume)
    await membership().requirePlaces(
      host,
      all.filter(({ replicas }) => replicas.some((each) => each.host === host)),
    )
    log.info({ host }, 'a host is to keep nothing any more')
    return this.#tell(host, 'leave')
  }

  /** @throws {UnknownHostError}; what reaching the host fails with, if it says itself that it is to go */
  end(reference: string): Promise<Answer<'readmit'>> {
    return this.#tell(this.#known(reference), 'stay')
  }

  /** @throws {UnknownHostError} */
  async look(reference: string): Promise<Answer<'evacuation'>> {
    const host = this.#known(reference)
    return this.#describe(host, await this.#askAll(host))
  }

  /** The host first, if it is there: what it has recorded is not lost. */
  async #tell(host: HostId, wanted: Wanted): Promise<Answer<'evacuation'>> {
    const { peers } = this.#options
    const member = peers.member(host)
    if (host === this.#options.host) await this.#take(host, wanted)
    else if (member?.state === 'up' || (wanted === 'stay' && member?.info.draining === true))
      await peers.request(host, askEvacuate, { host, wanted }, { timeoutMs: ASK_TIMEOUT_MS })
    return this.#describe(host, await this.#askAll(host, wanted))
  }

  async #take(host: HostId, wanted: Wanted): Promise<void> {
    const { draining, changed } = this.#options
    if (host === this.#options.host) await draining.set(wanted === 'leave')
    else if (wanted === 'leave') this.#told.add(host)
    else this.#told.delete(host)
    changed()
  }

  /** What all say that are up, this host among them. */
  async #askAll(host: HostId, wanted?: Wanted): Promise<ReadonlyMap<HostId, Said>> {
    const { peers } = this.#options
    const own = this.#options.host
    const up = peers.members().filter(({ state }) => state === 'up')
    const hosts = [own, ...up.map(({ hostId }) => hostId)]
    const said = await Promise.all(
      hosts.map(async (each) => [each, await this.#ask(each, host, wanted)] as const),
    )
    return new Map(said.flatMap(([each, answer]) => (answer === undefined ? [] : [[each, answer] as const])))
  }

  #spread(to: HostId, host: HostId): void {
    this.#ask(to, host, 'leave').catch((error: unknown) => {
      this.#options.log.error({ err: error }, 'a bug')
    })
  }

  async #ask(asked: HostId, host: HostId, wanted?: Wanted): Promise<Said | undefined> {
    const { peers, log } = this.#options
    try {
      if (asked === this.#options.host) {
        if (wanted !== undefined) await this.#take(host, wanted)
        return await this.#sayHere(host)
      }
      const message = { host, ...(wanted !== undefined && { wanted }) }
      return await peers.request(asked, askEvacuate, message, { timeoutMs: ASK_TIMEOUT_MS })
    } catch (error) {
      if (!isCloudfsError(error)) throw error
      log.info({ host: asked, err: error }, 'a host does not say how far it is with an evacuation')
      return undefined
    }
  }

  async #sayHere(host: HostId): Promise<{ isLeaving: boolean; keptCount: number; work: Work[] }> {
    const { engine, membership } = this.#options
    const volumes = await engine.result('volumes', { all: true })
    const kept = volumes.filter(({ left, deletionCommitted }) => !left && !deletionCommitted)
    return { isLeaving: this.isLeaving(host), keptCount: kept.length, work: membership().work() }
  }

  async #describe(host: HostId, said: ReadonlyMap<HostId, Said>): Promise<Answer<'evacuation'>> {
    const { peers, catalogue } = this.#options
    const all = [...(await catalogue.all()).values()]
    const work = new Map([...said.values()].flatMap((each) => each.work.map((one) => [one.volume, one])))
    const volumes = all
      .filter(({ volume, held }) => held.has(host) || volume.replicas.some((each) => each.host === host))
      .map((found) => leftover(host, found, work.get(found.volume.volume as Work['volume'])))
    const others = peers.members().filter(({ hostId }) => hostId !== host)
    const silent = others.map(({ hostId }) => hostId).filter((each) => !said.has(each))
    const kept = said.get(host)?.keptCount
    return {
      host,
      isUp: said.has(host),
      isLeaving: this.isLeaving(host) || [...said.values()].some(({ isLeaving }) => isLeaving),
      isEmpty: volumes.length === 0 && (kept === undefined ? silent.length === 0 : kept === 0),
      volumes: volumes.sort((a, b) => (a.volume < b.volume ? -1 : 1)),
      attached: all
        .filter(({ volume }) => volume.attachments.some((each) => each.host === host))
        .map(({ volume }) => volume.volume)
        .sort(),
      silent,
    }
  }

  #known(reference: string): HostId {
    const host = HostId.parse(reference)
    if (host !== this.#options.host && this.#options.peers.member(host) === undefined)
      throw new UnknownHostError(`no host ${host} is known here`, { host })
    return host
  }
}

function leftover(host: HostId, { volume }: Found, work: Work | undefined): Leftover {
  const { name, replicas, primary, isServing } = volume
  const isMember = replicas.some((each) => each.host === host)
  const joined = replicas.find((each) => each.role === 'learner' && each.host !== host)
  const joins = joined?.host
  const noLead = { code: 'ERR_NO_MAJORITY', message: 'nobody leads it with a majority behind it' }
  const problem = work?.problem ?? (isServing ? undefined : noLead)
  return {
    volume: volume.volume,
    name,
    state: !isMember ? 'drops' : joins === undefined ? 'waits' : 'moves',
    isLed: primary === host,
    ...(joins !== undefined && { joins }),
    ...(joined?.behindBytes !== undefined && { behindBytes: joined.behindBytes }),
    ...(joined?.bytesPerSecond !== undefined && { bytesPerSecond: joined.bytesPerSecond }),
    ...(joined?.etaSeconds !== undefined && { etaSeconds: joined.etaSeconds }),
    ...(problem !== undefined && isMember && { problem }),
  }
}
