/**
 * Clients of a volume: each writes what nobody else writes, reads, zeroes and flushes, at its own pace, over a connection to
 * whoever serves the volume. When the connection ends or nothing is answered it looks for another, and what was under way
 * may have happened or not.
 */
import type { VolumeId } from '@cloudfs/interface'
import type { SimOp, SimReply } from '@cloudfs/native'
import type { AttachedClient, Attachment } from './attachment.js'
import { BLOCK_BYTES, contentOf, UNIT_BYTES, UNITS_PER_BLOCK, writeId, writesIn } from './contents.js'
import type { Coverage } from './coverage.js'
import type { History, HistoryOp } from './history.js'
import { type Host, mayRefuse } from './host.js'
import type { Log } from './log.js'
import type { Network, Pipe } from './network.js'
import { OpenExport } from './open-export.js'
import { below, chance, pick, type Random, spread } from './random.js'
import { MILLISECOND, type Planned, type Schedule, SECOND } from './schedule.js'

const EIO = 5
const ENOSPC = 28
/** The session ends: its host is no primary any more. */
const UNANSWERED = -1
const ESHUTDOWN = 108

/** A client gives a connection up that answers nothing for so long. */
const PATIENCE_NS = 3 * SECOND
/** Until a host learns that a client of it is gone. */
const SILENCE_NS_MAX = 200 * MILLISECOND
const CONNECT_PATIENCE_NS = 100 * MILLISECOND

interface Work {
  readonly volume: VolumeId
  readonly blockCount: number
  /** What is acknowledged is durable. */
  readonly isDurable: boolean
}

interface ClientsParts {
  readonly schedule: Schedule
  readonly random: Random
  readonly coverage: Coverage
  readonly log: Log
  readonly network: Network
  readonly hosts: readonly Host[]
  readonly history: History
  readonly work: Work
  /** What must not be has been. */
  readonly onFault: (what: string, story?: readonly string[]) => void
}

interface Request {
  readonly kind: SimOp['kind']
  readonly op: HistoryOp | undefined
  readonly begun: number
  readonly fua: boolean
  readonly firstUnit: number
}

interface Answer extends SimReply {
  /** Its host had a disk that failed. */
  readonly isOfFailed: boolean
}

interface Session {
  readonly id: number
  /** Who answers. */
  readonly name: string
  readonly target: number
  send(what: SimOp, op: HistoryOp | undefined): void
}

/** A session with a host, past every endpoint. */
interface Direct extends Session {
  readonly host: Host
  readonly opened: OpenExport
  readonly requests: Pipe<SimOp>
  readonly replies: Pipe<Answer | 'end'>
}

export class Clients {
  readonly all: readonly Client[]
  readonly #parts: ClientsParts
  readonly #sessions = new Map<number, Direct>()
  /** Of sessions that are over, too: what they had asked is answered to nobody. */
  readonly #opened = new Map<number, OpenExport>()
  #nextSession = 1

  /** Every second one is a client of one of these. */
  constructor(parts: ClientsParts, count: number, attachments: readonly Attachment[]) {
    this.#parts = parts
    this.all = Array.from({ length: count }, (_, index) => {
      const attachment = index % 2 === 0 ? undefined : attachments[(index >> 1) % attachments.length]
      return new Client(index, parts, this, attachment)
    })
  }

  /** They begin, or go on. */
  go(): void {
    for (const client of this.all) client.go()
  }

  /** Nothing new is asked. */
  pause(): void {
    for (const client of this.all) client.pause()
  }

  /** They are idle, and close their connections. */
  leave(): void {
    for (const client of this.all) client.leave()
  }

  get isIdle(): boolean {
    return this.all.every((client) => client.isIdle)
  }

  /** Each writes once more and flushes that; `isIdle` once all of that is answered. */
  prove(): void {
    for (const client of this.all) client.prove()
  }

  onReply(reply: SimReply): void {
    this.#opened.get(reply.client)?.answered()
    const session = this.#sessions.get(reply.client)
    session?.replies.push({ ...reply, isOfFailed: mayRefuse(session.host) })
  }

  /** A host's process is gone, or lets its clients go. */
  onGone(host: Host): void {
    for (const session of [...this.#sessions.values()]) if (session.host === host) session.replies.push('end')
  }

  /** @internal */
  open(client: Client, host: Host): Session | undefined {
    const { network, volume } = { network: this.#parts.network, volume: this.#parts.work.volume }
    const found = host.core?.openExport(volume)
    if (found === undefined) return undefined
    const home = client.home.index
    const opened = new OpenExport(host, found.handle)
    const session: Direct = {
      id: this.#nextSession++,
      name: host.name,
      host,
      opened,
      target: found.handle,
      send: (what) => {
        session.requests.push(what)
      },
      requests: network.pipe(home, host.index, (op) => {
        // Another process, or another boot, knows nothing of the connection.
        if (!opened.submit(op) && host.isUp) session.replies.push('end')
      }),
      replies: network.pipe(host.index, home, (reply) => {
        client.onReply(session, reply)
      }),
    }
    this.#sessions.set(session.id, session)
    this.#opened.set(session.id, opened)
    return session
  }

  /** @internal What was sent may still arrive. */
  close({ id }: Session): void {
    const session = this.#sessions.get(id)
    if (session === undefined) return
    this.#sessions.delete(id)
    session.replies.close()
    if (chance(this.#parts.random, 0.5)) session.requests.close()
    this.#parts.schedule.after(this.#parts.random() * SILENCE_NS_MAX, () => {
      session.opened.end()
    })
  }
}

export class Client {
  readonly number: number
  readonly home: Host
  readonly #parts: ClientsParts
  readonly #clients: Clients
  readonly #depth: number
  readonly #thinkNs: number
  readonly #attachment: Attachment | undefined
  #session: Session | undefined
  #isConnecting = false
  #serving: number
  readonly #waiting = new Map<number, Request>()
  #nextRequest = 1
  #nextWrite = 1
  #isPaused = true
  /** Writes and flushes still to be answered. */
  #toProve: ('write' | 'flush')[] = []
  #patience: Planned | undefined
  #thinking = 0

  constructor(number: number, parts: ClientsParts, clients: Clients, attachment: Attachment | undefined) {
    this.number = number
    this.#attachment = attachment
    this.#parts = parts
    this.#clients = clients
    this.home = parts.hosts[number % parts.hosts.length] as Host
    this.#serving = below(parts.random, parts.hosts.length)
    this.#depth = 1 + below(parts.random, 3)
    this.#thinkNs = spread(parts.random, 40 * MILLISECOND, 800 * MILLISECOND)
  }

  get isIdle(): boolean {
    return this.#waiting.size === 0 && this.#toProve.length === 0
  }

  go(): void {
    this.#isPaused = false
    this.#think()
  }

  pause(): void {
    this.#isPaused = true
  }

  leave(): void {
    this.#lose('as it leaves')
  }

  prove(): void {
    this.#toProve = ['write', 'flush']
    this.#think()
  }

  onReply(session: Session, reply: Answer | 'end'): void {
    if (session !== this.#session) return
    if (reply === 'end') {
      this.#lose('the connection ended')
      return
    }
    if (reply.error === UNANSWERED) {
      this.#lose('its host stepped down')
      return
    }
    const request = this.#waiting.get(reply.request)
    this.#waiting.delete(reply.request)
    if (request === undefined) {
      this.#parts.onFault(`client ${String(this.number)} is answered what it did not ask`)
      return
    }
    this.#take(session, request, reply)
    this.#hope()
    if (reply.error === 0) this.#think()
    else
      this.#parts.schedule.after(20 * MILLISECOND, () => {
        this.#think()
      })
  }

  #take(session: Session, request: Request, reply: Answer): void {
    const { coverage, history, log, onFault, schedule } = this.#parts
    const { kind, op } = request
    const now = schedule.nextOrder()
    if (reply.error !== 0) {
      coverage.count(`client:${kind} errno ${String(reply.error)}`)
      const isExpected =
        reply.error === ESHUTDOWN ||
        (reply.error === ENOSPC && op?.kind === 'write') ||
        (reply.error === EIO && reply.isOfFailed)
      if (!isExpected)
        onFault(
          `client ${String(this.number)}: ${kind} is answered with errno ${String(reply.error)} by ${session.name}`,
        )
      return
    }
    coverage.count(`client:${kind}`)
    log.event(
      `client ${String(this.number)}`,
      now,
      () =>
        `[${String(request.begun)}, ${String(now)}] ${kind} at ${String(request.firstUnit / UNITS_PER_BLOCK)} is done by ${session.name}`,
    )
    if (kind === 'flush') {
      history.flush(request.begun, now)
      if (this.#toProve[0] === 'flush') this.#toProve.shift()
      return
    }
    if (op === undefined) return
    if (kind === 'read') {
      const bytes = Buffer.concat(reply.pieces.map((piece) => piece.data ?? Buffer.alloc(piece.bytes)))
      try {
        op.seen = writesIn(bytes, request.firstUnit)
      } catch (error) {
        onFault(`client ${String(this.number)} read at ${session.name}: ${(error as Error).message}`)
        return
      }
    } else {
      if (request.fua || this.#parts.work.isDurable) op.durable = now
      if (this.#toProve[0] === 'write') this.#toProve.shift()
    }
    op.ended = now
  }

  // --- Connections -----------------------------------------------------------------------------------------------------

  #lose(why: string): void {
    if (this.#session === undefined) return
    this.#parts.coverage.count('client:connection lost')
    if (this.#waiting.size > 0) this.#parts.coverage.count('client:outcome unknown', this.#waiting.size)
    this.#parts.log.event(
      `client ${String(this.number)}`,
      this.number,
      () => `loses ${why}: ${String(this.#waiting.size)} under way`,
    )
    this.#clients.close(this.#session)
    this.#session = undefined
    this.#waiting.clear()
    this.#patience?.cancel()
    this.#patience = undefined
    this.#think()
  }

  /** Something came, or was asked: it waits for the next answer from now on. */
  #hope(): void {
    this.#patience?.cancel()
    this.#patience = undefined
    // A guest waits for its disk as long as it takes.
    if (this.#waiting.size === 0 || this.#attachment !== undefined) return
    this.#patience = this.#parts.schedule.after(PATIENCE_NS, () => {
      this.#lose('patience')
    })
  }

  #connect(): void {
    if (this.#isConnecting) return
    if (this.#attachment !== undefined) {
      this.#join(this.#attachment)
      return
    }
    this.#isConnecting = true
    const { schedule, network, hosts, random } = this.#parts
    const host = hosts[this.#serving % hosts.length] as Host
    const home = this.home.index
    const isThere = !network.isCut(home, host.index) && !network.isCut(host.index, home)
    const isHeard = isThere && host.isUp && !host.isFrozen
    const waitNs = isHeard
      ? network.delayNs(home, host.index) + network.delayNs(host.index, home)
      : isThere && !host.isUp
        ? MILLISECOND
        : CONNECT_PATIENCE_NS
    schedule.after(waitNs, () => {
      this.#isConnecting = false
      if (this.#session !== undefined) return
      if (isHeard && host.isReady && !host.isFrozen) this.#session = this.#clients.open(this, host)
      if (this.#session !== undefined) {
        this.#parts.coverage.count('client:connection made')
        this.#think()
        return
      }
      this.#serving++
      schedule.after(spread(random, 2 * MILLISECOND, 20 * MILLISECOND), () => {
        if (this.#wants) this.#connect()
      })
    })
  }

  /** Over the socket of its endpoint. */
  #join(attachment: Attachment): void {
    const { coverage, random, schedule } = this.#parts
    const client: AttachedClient = {
      number: this.number,
      onAnswer: (reply, isOfFailed) => {
        this.onReply(session, { ...reply, isOfFailed })
      },
      onEnd: () => {
        this.onReply(session, 'end')
      },
    }
    const session: Session = {
      id: 0,
      name: 'its endpoint',
      target: 0,
      send: (what, op) => {
        attachment.submit(client, what, op)
      },
    }
    if (attachment.join(client)) {
      coverage.count('client:attached')
      this.#session = session
      this.#think()
      return
    }
    this.#isConnecting = true
    schedule.after(spread(random, 2 * MILLISECOND, 20 * MILLISECOND), () => {
      this.#isConnecting = false
      if (this.#wants) this.#connect()
    })
  }

  // --- Work ------------------------------------------------------------------------------------------------------------

  get #wants(): boolean {
    return this.#session === undefined && (!this.#isPaused || this.#toProve.length > 0)
  }

  #think(): void {
    if (this.#toProve.length > 0) {
      this.#proveNext()
      return
    }
    if (this.#isPaused || this.#thinking + this.#waiting.size >= this.#depth) return
    this.#thinking++
    const { schedule, random } = this.#parts
    schedule.after(-Math.log(1 - random()) * this.#thinkNs, () => {
      this.#thinking--
      if (this.#isPaused) return
      if (this.#session === undefined) this.#connect()
      else this.#ask(this.#session)
      this.#think()
    })
  }

  #proveNext(): void {
    if (this.#session === undefined) {
      this.#connect()
      return
    }
    if (this.#waiting.size > 0) return
    if (this.#toProve[0] === 'flush') this.#send(this.#session, { kind: 'flush' }, undefined, 0)
    else
      this.#write(
        this.#session,
        below(this.#parts.random, this.#units / UNITS_PER_BLOCK) * UNITS_PER_BLOCK,
        UNITS_PER_BLOCK,
      )
  }

  get #units(): number {
    return this.#parts.work.blockCount * UNITS_PER_BLOCK
  }

  #ask(session: Session): void {
    const { random } = this.#parts
    const draw = random()
    const { first, count } = this.#range()
    if (draw < 0.48) this.#write(session, first, count)
    else if (draw < 0.56) this.#zero(session, first, count)
    else if (draw < 0.64) this.#send(session, { kind: 'flush' }, undefined, 0)
    else this.#read(session, first, count)
  }

  #range(): { first: number; count: number } {
    const { random, work } = this.#parts
    if (chance(random, 0.2)) {
      const count = 1 + below(random, 12)
      return { first: below(random, this.#units - count), count }
    }
    // Some blocks are written again and again, others hardly ever.
    const blocks = pick(random, [1, 1, 1, 2, 3, 6])
    const block = Math.floor(random() ** 2 * (work.blockCount - blocks))
    return { first: block * UNITS_PER_BLOCK, count: blocks * UNITS_PER_BLOCK }
  }

  #write(session: Session, first: number, count: number): void {
    const { history, schedule, random } = this.#parts
    const id = writeId(this.number, this.#nextWrite++)
    const op = history.write(this.number, first, count, id, schedule.nextOrder())
    const fua = chance(random, 0.1)
    this.#send(
      session,
      { kind: 'write', offset: first * UNIT_BYTES, payload: contentOf(id, first, count), fua },
      op,
      first,
    )
  }

  #zero(session: Session, first: number, count: number): void {
    const { history, schedule, random } = this.#parts
    const op = history.write(this.number, first, count, 0, schedule.nextOrder())
    const isWhole = first % UNITS_PER_BLOCK === 0 && count % UNITS_PER_BLOCK === 0
    const kind = isWhole && chance(random, 0.5) ? 'trim' : 'write-zeroes'
    this.#send(session, { kind, offset: first * UNIT_BYTES, length: count * UNIT_BYTES }, op, first)
  }

  #read(session: Session, first: number, count: number): void {
    const op = this.#parts.history.read(this.number, first, count, this.#parts.schedule.nextOrder())
    this.#send(session, { kind: 'read', offset: first * UNIT_BYTES, length: count * UNIT_BYTES }, op, first)
  }

  #send(
    session: Session,
    what: Omit<SimOp, 'request' | 'target' | 'client'>,
    op: HistoryOp | undefined,
    firstUnit: number,
  ): void {
    const request = this.#nextRequest++
    const begun = op?.begun ?? this.#parts.schedule.nextOrder()
    this.#waiting.set(request, { kind: what.kind, op, begun, fua: what.fua === true, firstUnit })
    session.send({ ...what, request, client: session.id, target: session.target }, op)
    if (this.#patience === undefined) this.#hope()
    this.#parts.log.event(
      `client ${String(this.number)}`,
      request,
      () =>
        `[${String(begun)}] asks ${session.name}: ${what.kind}${what.fua === true ? ' FUA' : ''} at ${String(Number(what.offset ?? 0) / BLOCK_BYTES)} +${String(what.payload?.length ?? what.length ?? 0)}`,
    )
  }
}
