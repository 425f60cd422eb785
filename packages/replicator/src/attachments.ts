/**
 * Volumes attached at this host for its VMs. The engine serves each by an endpoint, whose clients stay while the way to the
 * primary ends and another is found; here that way is found. Whoever comes to lead tells (lead-teller.ts), and while an
 * endpoint has no route, or its primary is not heard of, the volume's members are asked again and again.
 *
 * What is attached stands in the volume's history (holders.ts): nothing is remembered here. A session is an endpoint's: an
 * engine that was started again gets new ones.
 */
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { Answer } from '@cloudfs/http'
import {
  compareEpochs,
  type CoreEvent,
  type Epoch,
  type HostId,
  isCloudfsError,
  NotPrimaryError,
  VersionId,
  VolumeId,
} from '@cloudfs/interface'
import { type PeerNode, PeerProtocolError } from '@cloudfs/peers'
import type { Logger } from 'pino'
import type { EngineSupervisor } from './engine-supervisor.js'
import { PrimaryAwayError } from './errors.js'
import {
  type Acted,
  askLead,
  type Lead,
  type NextLead,
  type PrimaryAction,
  tellLead,
} from './peer-requests.js'
import { RunFiles } from './run-files.js'
import { Seeking } from './seeking.js'
import { Turns } from './turns.js'

type Attachment = Answer<'attach'>

const ASK_TIMEOUT_MS = 2_000
/** Pause before whoever attaches a volume tries again; doubles up to the greatest. */
const ROUTE_RETRY_MS_MIN = 20
const ROUTE_RETRY_MS_MAX = 1_000
/** So long nobody else is asked while a host is about to lead. */
const NEXT_MS = 200
/** Volumes whose route is on its way to whom is about to lead: each is a command that its engine has not answered. */
const NEXT_MAX = 8
/** Whoever attaches a volume waits so long for the way to its primary. */
const ROUTE_MS_MAX = 10_000
const SOCKET_MODE = 0o660

/** A volume that this host has attached, or has had as far as it knows. */
interface Attached {
  readonly volume: VolumeId
  isShared: boolean
  /** Of the endpoint in the engine that is there. */
  session: string | undefined
  /** The newest that was told, and by whom. */
  lead: { readonly host: HostId; readonly told: Lead } | undefined
  /** The endpoint has a route to who leads, as far as it is known here. */
  isRouted: boolean
  /** Routes that were lost. */
  losses: number
  /** A route to a host that is about to lead, on its way. */
  next: { readonly epoch: Epoch; readonly done: Promise<boolean> } | undefined
}

interface AttachmentsOptions {
  readonly engine: EngineSupervisor
  readonly host: HostId
  readonly peers: PeerNode
  readonly runDirectory: string
  /** Has a volume's primary do something, whoever that is by now. */
  readonly act: (
    volume: { readonly volume: VolumeId; readonly primary: string },
    request: PrimaryAction,
  ) => Promise<Acted & { readonly by: HostId }>
  /** What this host would tell as the primary. @throws it is none */
  readonly leadHere: (volume: VolumeId) => Promise<Lead>
  readonly log: Logger
}

/** How a volume is to be attached. */
export interface AttachPlan {
  readonly isShared: boolean
  /** From hosts that would not share it. */
  readonly take: boolean
}

export class Attachments {
  readonly #options: AttachmentsOptions
  readonly #files: RunFiles
  readonly #attached = new Map<VolumeId, Attached>()
  readonly #turns = new Turns()
  readonly #closing = new AbortController()
  readonly #seeking: Seeking
  #nexts = 0

  constructor(options: AttachmentsOptions) {
    this.#options = options
    this.#files = new RunFiles(options.runDirectory)
    const { peers, engine } = options
    this.#seeking = new Seeking({
      isFound: (volume) => this.#isSettled(volume),
      candidates: (volume, all) => this.#candidates(volume, all),
      ask: (volume, host) => this.#askOne(volume, host),
      mustWait: () => !engine.isUp,
      run: (work) => {
        this.#run(work)
      },
    })
    peers.handle(tellLead, (lead, caller) => {
      if (lead.epoch.host !== caller)
        throw new NotPrimaryError(`host ${caller} leads in no epoch of host ${lead.epoch.host}`)
      this.#run(this.told(caller, lead))
      return Promise.resolve({})
    })
    const onDoubt = ({ hostId }: { readonly hostId: HostId }): void => {
      for (const attached of this.#attached.values())
        if (attached.lead?.host === hostId && !this.#seeking.has(attached.volume)) this.#seek(attached)
    }
    peers.on('member-suspect', onDoubt)
    peers.on('member-down', onDoubt)
    peers.on('member-up', () => {
      this.#seeking.wakeAll()
    })
  }

  all(): Attachment[] {
    return [...this.#attached.values()].map((attached) => this.#describe(attached))
  }

  /** The primary by way of which the volume is served here. */
  leaderOf(volume: VolumeId): HostId | undefined {
    return this.#attached.get(volume)?.lead?.host
  }

  /**
   * An engine was found or started. What endpoints it has says itself; what this host has attached besides, its replicas'
   * histories say, and whoever leads a volume of which it has none (lead-teller.ts).
   */
  async begin(): Promise<void> {
    const { engine, host } = this.#options
    const endpoints = new Map((await engine.result('endpoints', {})).map((each) => [each.volume, each]))
    for (const attached of this.#attached.values())
      if (endpoints.get(attached.volume)?.session !== attached.session) attached.session = undefined
    for (const { volume, session } of endpoints.values()) this.#entry(volume).session = session
    for (const { volume, attach } of await engine.result('volumes', {}))
      if (attach.holders.some((holder) => holder.host === host)) this.#entry(volume)
    for (const attached of this.#attached.values()) {
      attached.isRouted = false
      this.#seek(attached)
    }
  }

  /** What no event told of: routes that have gone. */
  async mend(): Promise<void> {
    for (const { volume, session, route } of await this.#options.engine.result('endpoints', {})) {
      const attached = this.#attached.get(volume)
      if (attached?.session === session && route === 'none') this.#lost(attached)
    }
  }

  onEvent(event: CoreEvent): void {
    if (event.name !== 'route-lost') return
    const { volume, session, ...why } = event.detail
    const attached = this.#attached.get(volume)
    this.#options.log.info({ volume, ...why }, 'an attached volume has lost its way to the primary')
    if (attached?.session === session) this.#lost(attached)
  }

  /** A host leads a volume, or says that this host has it attached no longer. Resolves when that was taken in. */
  async told(host: HostId, lead: Lead): Promise<void> {
    const volume = VolumeId.parse(lead.volume)
    if (lead.holder === undefined && !this.#attached.has(volume)) return
    try {
      await this.#turns.take(volume, async () => {
        if (lead.holder !== undefined) this.#entry(volume)
        await this.#follow(host, lead)
      })
    } catch (error) {
      this.#later(volume, error)
    }
  }

  /** A host is about to lead a volume: the route there is made beforehand, and is in force when that host lets it in. */
  toldNext(host: HostId, { volume: id, epoch, session, way }: NextLead): void {
    const attached = this.#attached.get(VolumeId.parse(id))
    if (attached?.session !== session || this.#nexts >= NEXT_MAX) return
    const { volume } = attached
    this.#nexts++
    const done = this.#options.engine.call('route', { volume, session, to: { ...way, isNext: true } }).then(
      () => true,
      (error: unknown) => {
        if (!isCloudfsError(error)) throw error
        this.#options.log.info({ volume, host, err: error }, 'who was about to lead a volume is not reached')
        return false
      },
    )
    const next = { epoch, done }
    attached.next = next
    const settle = async (): Promise<void> => {
      const isThere = await done.finally(() => this.#nexts--)
      if (attached.next !== next) return
      if (!isThere) {
        attached.next = undefined
        if (!attached.isRouted) this.#seek(attached)
        return
      }
      attached.isRouted = true
      this.#options.log.info({ volume, leader: host }, 'an attached volume is led there')
      // Routes lost meanwhile were the one before, or this one.
      await this.mend().catch((error: unknown) => {
        this.#later(volume, error)
      })
    }
    this.#run(settle())
  }

  /** The head of a volume, as its primary has it. */
  async moved(volume: VolumeId, version: VersionId): Promise<void> {
    if (this.#attached.has(volume)) await this.#files.update(volume, version)
  }

  /**
   * Serves a volume, at the socket where it always is; one that is served goes on.
   *
   * @throws what its primary refuses with: it is as it was; what serving it fails with: it is not attached
   */
  attach(volume: VolumeId, primary: string, plan: AttachPlan): Promise<{ at: Attachment; mayLead: boolean }> {
    return this.#turns.take(volume, async () => {
      const before = this.#attached.get(volume)
      const session = newSession()
      const { by, lead, mayLead } = await this.#record({ volume, primary }, session, plan)
      const attached = this.#entry(volume)
      try {
        await this.#untilRouted(attached, by, lead, session)
      } catch (error) {
        // What is not served is not attached: another host may have it.
        if (before === undefined) await this.#giveUp(attached)
        throw error
      }
      return { at: this.#describe(attached), mayLead: before === undefined && mayLead }
    })
  }

  /** Others may have it, then clients are let go. @throws {NotAttachedError}, {PrimaryAwayError}: it is as it was */
  detach(volume: VolumeId, primary: string): Promise<void> {
    const { act, host } = this.#options
    return this.#turns.take(volume, async () => {
      try {
        await act({ volume, primary }, { action: 'detach', volume, host })
      } catch (error) {
        if (codeOf(error) === 'ERR_NOT_ATTACHED') await this.#end(volume)
        throw error
      }
      await this.#end(volume)
    })
  }

  /** Lets go of what is under way; endpoints stay. */
  close(): void {
    this.#closing.abort(new Error('the node stops'))
    this.#seeking.close()
  }

  #entry(volume: VolumeId): Attached {
    const present = this.#attached.get(volume)
    if (present !== undefined) return present
    const attached: Attached = {
      volume,
      isShared: false,
      session: undefined,
      lead: undefined,
      isRouted: false,
      losses: 0,
      next: undefined,
    }
    this.#attached.set(volume, attached)
    return attached
  }

  #lost(attached: Attached): void {
    attached.isRouted = false
    attached.losses++
    this.#seek(attached)
  }

  /** Asks who leads the volume, until its endpoint has a route to whom is heard of. */
  #seek({ volume, next }: Attached): void {
    const first = next && Promise.race([next.done, delay(NEXT_MS, undefined, { ref: false })])
    this.#run(this.#seeking.seek(volume, first))
  }

  async #askOne(volume: VolumeId, host: HostId): Promise<void> {
    const { host: self, leadHere, peers, log } = this.#options
    try {
      const lead =
        host === self
          ? await leadHere(volume)
          : await peers.request(host, askLead, { volume }, { timeoutMs: ASK_TIMEOUT_MS })
      await this.told(host, lead)
    } catch (error) {
      if (isCloudfsError(error)) log.debug({ volume, host, err: error }, 'a host does not lead a volume')
      else log.error({ err: error }, 'a bug')
    }
  }

  /** @param all - the members that are known may be members no longer */
  #candidates(volume: VolumeId, all: boolean): Iterable<HostId> {
    const { host, peers } = this.#options
    const lead = this.#attached.get(volume)?.lead
    const others = peers.members().flatMap(({ hostId, state }) => (state === 'down' ? [] : [hostId]))
    if (lead === undefined || all) return [host, ...others]
    const members = new Set(lead.told.members)
    return [host, ...others].filter((each) => members.has(each))
  }

  #isSettled(volume: VolumeId): boolean {
    const attached = this.#attached.get(volume)
    if (attached === undefined) return true
    const { isRouted, lead } = attached
    if (!isRouted || lead === undefined) return false
    return lead.host === this.#options.host || this.#options.peers.member(lead.host)?.state === 'up'
  }

  /** In the volume's turn. Has its endpoint go by what a primary tells. @param fresh - a session that was recorded just now */
  async #follow(host: HostId, lead: Lead, fresh?: string): Promise<void> {
    const volume = VolumeId.parse(lead.volume)
    const attached = this.#attached.get(volume)
    if (attached === undefined || (attached.lead !== undefined && isOlder(lead, attached.lead.told))) return
    const { engine, log } = this.#options
    if (lead.holder === undefined) {
      log.warn({ volume, host }, 'a volume is attached here no longer: its clients are let go')
      await this.#end(volume)
      return
    }
    const { session } = lead.holder
    if (session !== attached.session) {
      if (session !== fresh) {
        // Nobody serves by it (any more).
        const next = newSession()
        const recorded = await this.#record({ volume, primary: host }, next)
        await this.#follow(recorded.by, recorded.lead, next)
        return
      }
      attached.isRouted = false
      await engine.call('endpoint', { volume, session, socket: this.#socketOf(volume), mode: SOCKET_MODE })
      attached.session = session
    }
    const isNext = attached.next !== undefined && compareEpochs(attached.next.epoch, lead.epoch) === 0
    const isThere = isNext && (await attached.next?.done) === true
    if (!isNext) attached.next = undefined
    const isKnown =
      isThere || (attached.lead?.host === host && compareEpochs(attached.lead.told.epoch, lead.epoch) === 0)
    attached.lead = { host, told: lead }
    attached.isShared = lead.holder.isShared
    // Requests wait for the way, nobody for the files.
    if (!isKnown || !attached.isRouted) await this.#route(attached, session, lead)
    await this.#files.add(volume, VersionId.parse(lead.version))
  }

  async #route(attached: Attached, session: string, { way }: Lead): Promise<void> {
    const { volume, losses } = attached
    const { engine, log } = this.#options
    try {
      await engine.call('route', { volume, session, to: way ?? 'here' })
    } catch (error) {
      // Nothing tells of the one there was, if it was lost meanwhile.
      attached.isRouted = false
      this.#seek(attached)
      // An engine that was started meanwhile.
      if (codeOf(error) === 'ERR_UNKNOWN_ENDPOINT') attached.session = undefined
      throw error
    }
    // One that was lost meanwhile may have been this one.
    attached.isRouted = losses === attached.losses
    log.info({ volume, leader: attached.lead?.host }, 'an attached volume is led there')
    if (attached.isRouted) this.#seeking.wake(volume)
    else this.#seek(attached)
  }

  /** In the volume's turn. */
  async #untilRouted(attached: Attached, by: HostId, lead: Lead, session: string): Promise<void> {
    const { volume } = attached
    const giveUpMs = performance.now() + ROUTE_MS_MAX
    let pauseMs = ROUTE_RETRY_MS_MIN
    let told = { by, lead }
    for (;;) {
      try {
        await this.#follow(told.by, told.lead, session)
        if (attached.isRouted) return
      } catch (error) {
        const isPassing = codeOf(error).match(
          /^ERR_(STREAM_LOST|NOT_PRIMARY|SESSION_ENDED|TICKET|ROUTE_\w+)$/,
        )
        if (isPassing === null || performance.now() > giveUpMs) throw error
      }
      if (performance.now() > giveUpMs)
        throw new PrimaryAwayError(`no way to the primary of volume ${volume}`, { volume })
      await delay(pauseMs, undefined, { signal: this.#closing.signal })
      pauseMs = Math.min(2 * pauseMs, ROUTE_RETRY_MS_MAX)
      // Again: whoever leads by now says the same.
      told = await this.#record({ volume, primary: told.by }, session)
    }
  }

  /** Has the primary record that this host has the volume. @param plan - left out: it has it already, and goes on */
  async #record(
    volume: { readonly volume: VolumeId; readonly primary: string },
    session: string,
    plan?: AttachPlan,
  ): Promise<{ by: HostId; lead: Lead; mayLead: boolean }> {
    const { act } = this.#options
    const current = this.#attached.get(volume.volume)?.session
    const {
      by,
      lead,
      mayLead = false,
    } = await act(volume, {
      action: 'attach',
      volume: volume.volume,
      socket: this.#socketOf(volume.volume),
      session,
      take: plan?.take === true,
      ...(plan !== undefined && { isShared: plan.isShared }),
      ...(current !== undefined && { current }),
    })
    if (lead === undefined) throw new PeerProtocolError(`host ${by} does not say what it has recorded`)
    return { by, lead, mayLead }
  }

  async #giveUp(attached: Attached): Promise<void> {
    const { act, host, log } = this.#options
    const { volume } = attached
    try {
      await this.#end(volume)
      const primary = attached.lead?.host ?? host
      await act({ volume, primary }, { action: 'detach', volume, host })
    } catch (error) {
      if (!isCloudfsError(error)) throw error
      log.info({ volume, err: error }, 'what was not attached was not given up')
    }
  }

  /** In the volume's turn. Lets its clients go, and forgets it. */
  async #end(volume: VolumeId): Promise<void> {
    const attached = this.#attached.get(volume)
    if (attached === undefined) return
    await this.#options.engine.call('end-endpoint', { volume })
    this.#attached.delete(volume)
    this.#seeking.wake(volume)
    await this.#files.remove(volume)
    await rm(this.#socketOf(volume), { force: true })
  }

  /** Work that nobody waits for, and that the world cannot fail. */
  #run(work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (!this.#closing.signal.aborted) this.#options.log.error({ err: error }, 'a bug')
    })
  }

  /** What could not be done for now. */
  #later(volume: VolumeId, error: unknown): void {
    const { log } = this.#options
    const attached = this.#attached.get(volume)
    if (!isCloudfsError(error)) {
      if (!this.#closing.signal.aborted) log.error({ err: error }, 'a bug')
      return
    }
    log.info({ volume, err: error }, 'an attached volume is served later')
    // Asked again, and not at once.
    if (attached !== undefined && !this.#seeking.has(volume)) this.#seek(attached)
  }

  #socketOf(volume: VolumeId): string {
    return this.#files.socketOf(volume)
  }

  #describe({ volume, isShared }: Attached): Attachment {
    const socket = this.#socketOf(volume)
    return { volume, host: this.#options.host, socket, uri: uriOf(socket), isShared }
  }
}

/** 16 bytes in hex. */
function newSession(): string {
  return randomBytes(16).toString('hex')
}

/** A primary that has been deposed, or an answer that was under way for long. */
function isOlder(lead: Lead, than: Lead): boolean {
  return (compareEpochs(lead.epoch, than.epoch) || lead.revision - than.revision) < 0
}

function codeOf(error: unknown): string {
  return isCloudfsError(error) ? error.code : ''
}

/** As `nbd(7)`'s URI specification has it; the socket serves this one volume, as its default export. */
function uriOf(socket: string): string {
  return `nbd+unix:///?socket=${encodeURIComponent(socket).replaceAll('%2F', '/')}`
}
