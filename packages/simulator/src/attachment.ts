/**
 * A volume that is attached at a host: the shipped endpoint, and what a node does for it. It has its session recorded, finds
 * whoever serves the volume, and finds another when that one goes; what clients had asked is asked again.
 */
import { bytesToHex, type VolumeId, type VolumeStatus } from '@cloudfs/interface'
import { type SimAnswer, SimEndpoint, type SimOp, type SimReply, type SimSent } from '@cloudfs/native'
import type { Coverage } from './coverage.js'
import type { History, HistoryOp } from './history.js'
import type { Host } from './host.js'
import type { Log } from './log.js'
import type { Network, Pipe } from './network.js'
import { OpenExport } from './open-export.js'
import { below, chance, type Random, spread } from './random.js'
import { MILLISECOND, type Planned, type Schedule, SECOND } from './schedule.js'

const SESSION_BYTES = 16
const EIO = 5
const RETRY_NS_MAX = 60 * MILLISECOND
const COMMAND_PATIENCE_NS = 2 * SECOND
/** Until a host learns that an endpoint's connection is gone. */
const SILENCE_NS_MAX = 200 * MILLISECOND

interface AttachmentParts {
  readonly schedule: Schedule
  readonly random: Random
  readonly coverage: Coverage
  readonly log: Log
  readonly network: Network
  readonly hosts: readonly Host[]
  readonly history: History
  readonly volume: VolumeId
  /** One host alone keeps the volume: there is nobody else to ask when its disk fails. */
  readonly isAlone: () => boolean
}

/** Whom the endpoint answers. */
export interface AttachedClient {
  readonly number: number
  onAnswer(reply: SimReply, isOfFailed: boolean): void
  /** The endpoint is gone, or its session. */
  onEnd(): void
}

/** A connection of the endpoint to who serves the volume. */
interface Route {
  readonly id: number
  /** The endpoint's number for it. */
  number: number
  readonly host: Host
  readonly opened: OpenExport
  readonly requests: Pipe<Wire>
  readonly replies: Pipe<SimReply | 'end'>
}
type Wire = { readonly op: SimOp } | { readonly op?: undefined; readonly seen: number }

/** Clients of hosts, by number, are below. */
const ROUTES_FROM = 1_000_000

export class Attachments {
  readonly all: readonly Attachment[]
  readonly #routes = new Map<number, Route>()
  /** Of routes that are over, too: what came by them is answered to nobody. */
  readonly #opened = new Map<number, OpenExport>()
  #nextRoute = ROUTES_FROM

  constructor(parts: AttachmentParts, count: number) {
    this.all = Array.from(
      { length: Math.min(count, parts.hosts.length) },
      (_, index) => new Attachment(index, parts, this),
    )
  }

  /** @returns whether it was for one of these */
  onReply(reply: SimReply): boolean {
    if (reply.client < ROUTES_FROM) return false
    this.#opened.get(reply.client)?.answered()
    this.#routes.get(reply.client)?.replies.push(reply)
    return true
  }

  /** A host's process is gone. */
  onDown(host: Host, isSilent: boolean): void {
    for (const attachment of this.all) if (attachment.home === host) attachment.onHomeDown()
    if (isSilent) return
    for (const route of [...this.#routes.values()]) if (route.host === host) route.replies.push('end')
  }

  /** @internal */
  add(make: (id: number) => Route): Route {
    const route = make(this.#nextRoute++)
    this.#routes.set(route.id, route)
    this.#opened.set(route.id, route.opened)
    return route
  }

  /** @internal */
  delete(route: Route): void {
    this.#routes.delete(route.id)
  }
}

export class Attachment {
  readonly home: Host
  /** Of its holder in the record; no other attachment has it. */
  readonly socket: string
  readonly #name: string
  readonly #parts: AttachmentParts
  readonly #attachments: Attachments
  readonly #patienceNs: number
  #endpoint: SimEndpoint | undefined
  #session = new Uint8Array(SESSION_BYTES)
  #hasSession = false
  /** The session stands in the record. */
  #isRecorded = false
  #route: Route | undefined
  #serving: number
  #isTrying = false
  #patience: Planned | undefined
  /** What clients asked in this session and before, that may not be done yet. */
  #asked: HistoryOp[] = []
  #clients = new Map<number, AttachedClient>()
  /** Requests of clients that are not answered. */
  #waiting = 0
  readonly #sent = new Set<number>()
  /** The host that alone keeps the volume has refused something with EIO. */
  #hasFailed = false

  constructor(index: number, parts: AttachmentParts, attachments: Attachments) {
    this.#parts = parts
    this.#attachments = attachments
    this.home = parts.hosts[parts.hosts.length - 1 - index] as Host
    this.#name = `attachment ${String(index)}`
    this.socket = `/run/${String(index)}.sock`
    this.#serving = below(parts.random, parts.hosts.length)
    this.#patienceNs = spread(parts.random, 100 * MILLISECOND, 2 * SECOND)
    this.#tryLater()
  }

  get session(): string {
    return bytesToHex(this.#session)
  }

  /** A client connects. @returns whether it is let in */
  join(client: AttachedClient): boolean {
    if (this.#endpoint === undefined) return false
    this.#clients.set(client.number, client)
    return true
  }

  /** `op` is what this is in the history, if it changes data. */
  submit(client: AttachedClient, what: Omit<SimOp, 'target' | 'client'>, op: HistoryOp | undefined): void {
    if (this.#endpoint === undefined || this.#clients.get(client.number) !== client) return
    if (op?.kind === 'write') this.#asked.push(op)
    this.#waiting++
    this.#endpoint.submit({ ...what, client: client.number })
    this.#carry()
  }

  /** A record without this session, as it was when that was asked for, is committed: nothing of it lands from now on. */
  onTaken(asked: readonly HistoryOp[]): void {
    const now = this.#parts.schedule.nextOrder()
    for (const op of asked) op.lapses = Math.min(op.lapses, now)
  }

  /** What clients have asked and may be done yet. */
  get asked(): readonly HistoryOp[] {
    return this.#asked.filter(({ ended }) => ended === Infinity)
  }

  /** Breaks its connection. @returns whether there was one */
  breakRoute(): boolean {
    if (this.#route === undefined) return false
    this.#drop()
    return true
  }

  /** The engine with the endpoint is gone, and knows nothing of its session when it comes back. */
  onHomeDown(): void {
    if (this.#endpoint !== undefined) this.#end('its host is down')
  }

  #end(why: string): void {
    this.#parts.coverage.count('session:ended')
    this.#parts.log.story(this.#name, `session ${this.session.slice(0, 8)} ends: ${why}`)
    this.#drop()
    this.#endpoint?.end()
    this.#endpoint = undefined
    this.#waiting = 0
    this.#sent.clear()
    this.#isRecorded = this.#hasSession = false
    const clients = [...this.#clients.values()]
    this.#clients = new Map()
    for (const client of clients) client.onEnd()
    this.#tryLater()
  }

  // --- Between the endpoint and the network ----------------------------------------------------------------------------

  /** What the endpoint has to send and to say goes where it belongs. */
  #carry(): void {
    for (;;) {
      const effects = this.#endpoint?.take()
      if (effects === undefined) return
      for (const sent of effects.sent) this.#send(sent)
      for (const reply of effects.delivered) {
        this.#waiting--
        this.#clients.get(reply.client)?.onAnswer(reply, this.#hasFailed)
      }
      if (!effects.isRouted) this.#drop()
      if (effects.sent.length === 0 && effects.delivered.length === 0) break
    }
    this.#hope()
  }

  /** Something came, or was asked: it waits for the next answer from now on. */
  #hope(): void {
    this.#patience?.cancel()
    this.#patience = undefined
    if (this.#route === undefined || this.#waiting === 0) return
    this.#patience = this.#parts.schedule.after(this.#patienceNs, () => {
      this.#parts.coverage.count('session:route given up')
      this.#drop()
    })
  }

  #send(sent: SimSent): void {
    const route = this.#route
    if (route?.number !== sent.route) return
    if (sent.op === undefined) {
      this.#parts.coverage.count('session:refusal seen')
      route.requests.push({ seen: sent.seen })
      return
    }
    const { op } = sent
    if (this.#sent.has(op.request)) this.#parts.coverage.count('session:request sent again')
    this.#sent.add(op.request)
    route.requests.push({ op: { ...op, client: route.id, target: 0 } })
  }

  #onReply(route: Route, reply: SimReply | 'end'): void {
    if (this.#route !== route || this.#endpoint === undefined) return
    if (reply === 'end') {
      this.#drop()
      return
    }
    if (reply.error === EIO && this.#parts.isAlone()) this.#hasFailed = true
    this.#endpoint.answer(route.number, reply)
    this.#carry()
  }

  /** The route is over, if there is one. */
  #drop(): void {
    const route = this.#route
    if (route === undefined) return
    this.#route = undefined
    this.#patience?.cancel()
    this.#patience = undefined
    this.#attachments.delete(route)
    route.replies.close()
    // What was sent may still arrive.
    if (chance(this.#parts.random, 0.5)) route.requests.close()
    this.#parts.schedule.after(this.#parts.random() * SILENCE_NS_MAX, () => {
      route.opened.end()
    })
    this.#endpoint?.lost(route.number)
    this.#parts.coverage.count('session:route lost')
    this.#tryLater()
  }

  // --- Session and route -----------------------------------------------------------------------------------------------

  #tryLater(): void {
    if (this.#isTrying) return
    this.#isTrying = true
    const { random, schedule } = this.#parts
    schedule.after(spread(random, MILLISECOND, chance(random, 0.1) ? SECOND : RETRY_NS_MAX), () => {
      this.#isTrying = false
      if (this.#route === undefined) this.#try()
    })
  }

  #try(): void {
    const { hosts, network, schedule } = this.#parts
    const host = hosts[this.#serving % hosts.length] as Host
    const isThere = !network.isCut(this.home.index, host.index) && !network.isCut(host.index, this.home.index)
    if (!this.home.isReady || !isThere || !host.isReady || host.isFrozen) {
      this.#serving++
      this.#tryLater()
      return
    }
    if (!this.#isRecorded) {
      this.#record(host)
      return
    }
    const delayNs =
      network.delayNs(this.home.index, host.index) + network.delayNs(host.index, this.home.index)
    this.#isTrying = true
    schedule.after(delayNs, () => {
      this.#isTrying = false
      if (this.#isRecorded && this.#route === undefined && host.isReady && !host.isFrozen) this.#open(host)
      else this.#tryLater()
    })
  }

  #open(host: Host): void {
    const { coverage, network, volume } = this.#parts
    const found = host.core?.openExport(volume, this.#session)
    if (found === undefined) {
      const refusal = host.core?.openRefusal(volume, this.#session)
      coverage.count(`session:refused, ${String(refusal)}`)
      if (refusal === 'session ended') this.#suspect(host)
      else {
        this.#serving++
        this.#tryLater()
      }
      return
    }
    coverage.count('session:route')
    const opened = new OpenExport(host, found.handle)
    const route = this.#attachments.add((id): Route => ({
      id,
      number: 0,
      host,
      opened,
      requests: network.pipe(this.home.index, host.index, (wire) => {
        const isHeard = wire.op === undefined ? opened.seen(wire.seen) : opened.submit(wire.op)
        if (!isHeard && host.isUp) route.replies.push('end')
      }),
      replies: network.pipe(host.index, this.home.index, (reply) => {
        this.#onReply(route, reply)
      }),
    }))
    this.#route = route
    route.number = this.#endpoint?.route(found.recordBytesMax) ?? 0
    this.#carry()
  }

  /** Refused by a record that may not be committed yet: the committed one tells. */
  #suspect(host: Host): void {
    this.#ask(host, ({ attach }) => {
      const isThere = attach.holders.some(({ session }) => session === this.session)
      if (this.#isRecorded && !isThere) this.#end('the record is without it')
      else this.#tryLater()
    })
  }

  /** Asks a primary for the record, and to have this session in it. */
  #record(host: Host): void {
    const { coverage, random, volume, log } = this.#parts
    this.#ask(host, ({ attach }) => {
      // Asked before, and not heard of.
      if (this.#hasSession && attach.holders.some(({ session }) => session === this.session)) {
        this.#begin()
        return
      }
      const session = Uint8Array.from({ length: SESSION_BYTES }, () => 1 + below(random, 255))
      this.#session = session
      this.#hasSession = true
      const before = this.asked
      const holders = [
        ...attach.holders.filter(({ socket }) => socket !== this.socket),
        { session: this.session, host: this.home.host, isShared: true, socket: this.socket },
      ]
      this.#command(
        (done) => {
          host.command('attach', { volume, holders, after: attach.revision }, done)
        },
        (answer) => {
          if (answer !== undefined) coverage.count(`session:record ${answer.errorCode}`.trim())
          if (answer?.errorCode === '' && this.#session === session) {
            log.story(this.#name, `session ${this.session.slice(0, 8)} is recorded by ${host.name}`)
            this.onTaken(before)
            this.#asked = []
            this.#begin()
          } else {
            if (answer?.errorCode !== 'ERR_ATTACHMENT_CHANGED') this.#serving++
            this.#tryLater()
          }
        },
      )
    })
  }

  #begin(): void {
    if (this.#isRecorded || !this.home.isReady) {
      this.#tryLater()
      return
    }
    this.#isRecorded = true
    this.#hasFailed = false
    this.#endpoint = new SimEndpoint()
    this.#tryLater()
  }

  /** The volume as a host tells that serves it; if it does not, another is tried. */
  #ask(host: Host, then: (status: VolumeStatus) => void): void {
    const { volume } = this.#parts
    this.#command(
      (done) => {
        host.command('volumes', { volume }, done)
      },
      (answer) => {
        const status = (answer?.result as VolumeStatus[] | undefined)?.[0]
        if (status?.role === 'primary' && status.serving) {
          then(status)
          return
        }
        this.#serving++
        this.#tryLater()
      },
    )
  }

  /** What comes too late, or when this host is another life's, counts as no answer. */
  #command(
    ask: (done: (answer: SimAnswer | undefined) => void) => void,
    then: (answer: SimAnswer | undefined) => void,
  ): void {
    this.#isTrying = true
    const { life } = this.home
    let isDone = false
    const once = (answer: SimAnswer | undefined): void => {
      if (isDone) return
      isDone = true
      timer.cancel()
      this.#isTrying = false
      if (this.home.life === life && this.home.isUp) then(answer)
      else this.#tryLater()
    }
    const timer = this.#parts.schedule.after(COMMAND_PATIENCE_NS, () => {
      once(undefined)
    })
    ask(once)
  }
}
