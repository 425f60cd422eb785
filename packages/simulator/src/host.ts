/**
 * A host: the shipped core on a simulated disk, with a clock of its own. It acts as the engine's loop does: what has come in
 * since the last turn is handed to the core, which then has a turn; until then it waits in the kernel. A frozen host has no
 * turns, while its disk and the network go on.
 */
import type { CoreCommands, CoreEvent, CoreVerb, HostId, StoreId } from '@cloudfs/interface'
import { SimCore, type SimAnswer, type SimCoreParams, type SimEffects, type SimReply } from '@cloudfs/native'
import { Clock } from './clock.js'
import type { Coverage } from './coverage.js'
import { DiskQueue } from './disk-queue.js'
import type { Log } from './log.js'
import { type Random, spread, within } from './random.js'
import { MICROSECOND, MILLISECOND, type Planned, type Schedule, SECOND } from './schedule.js'

/** What a host tells the world. */
export interface HostListener {
  onReply(host: Host, reply: SimReply): void
  /** As it happens: for who watches over all. */
  onEvent(host: Host, event: CoreEvent): void
  /** As those hear it who listen to the engine, if the host still lives. */
  onTold(host: Host, event: CoreEvent): void
  /** What was not synced may be gone. */
  onLoss(host: Host): void
  onSends(host: Host, sends: SimEffects['sends']): void
  onCloses(host: Host, streams: readonly number[]): void
  /** Before each turn, and behind it: hands over what has arrived, as far as the core takes it. @returns whether it took any */
  onTurn(host: Host): boolean
  /** The process is gone, and why. */
  onDown(host: Host, how: Down): void
}

export type Down = 'kill' | 'power' | 'failed' | 'stopped'

interface HostParts {
  readonly schedule: Schedule
  readonly random: Random
  readonly coverage: Coverage
  readonly log: Log
  readonly listener: HostListener
  readonly index: number
  readonly host: HostId
  readonly store: StoreId
  readonly params: SimCoreParams
}

/** Messages between an engine and whoever commands it take at most so long. */
const CONTROL_DELAY_NS_MAX = 3 * MILLISECOND

export class Host {
  readonly index: number
  readonly name: string
  readonly host: HostId
  readonly store: StoreId
  readonly clock: Clock
  readonly disk: DiskQueue
  /** Undefined while the process does not run. */
  core: SimCore | undefined
  /** It has recovered, and takes commands, clients and streams. */
  isReady = false
  isFrozen = false
  /** Counts starts of the process. */
  life = 0
  /** Counts boots of the machine. */
  boot = 1
  /** Turns of cores, and what was handed to them. */
  steps = 0
  readonly #parts: HostParts
  #inbox: ((core: SimCore) => void)[] = []
  readonly #answers = new Map<number, (answer: SimAnswer | undefined) => void>()
  #nextCommand = 1
  #turn: Planned | undefined
  #controlNs = 0
  #answerNs = 0

  constructor(parts: HostParts) {
    this.#parts = parts
    this.index = parts.index
    this.name = `host ${String(parts.index)}`
    this.host = parts.host
    this.store = parts.store
    const { schedule, random } = parts
    this.clock = new Clock(schedule, spread(random, SECOND, 1000 * SECOND), 1 + (random() - 0.5) / 200)
    this.disk = new DiskQueue(
      {
        schedule,
        random,
        coverage: parts.coverage,
        onDone: ({ id, error, bytes }) => {
          this.give((core) => {
            core.complete(id, error, bytes)
          })
        },
      },
      2 ** (parts.params.segmentLog2 ?? 25),
    )
  }

  get isUp(): boolean {
    return this.core !== undefined
  }

  /** Writes an empty store, and runs. */
  format(): void {
    this.#begin()
    this.core?.format({ host: this.host, store: this.store }, this.clock.now())
    this.#wake(0)
  }

  start(): void {
    this.#parts.log.story(this.name, `starts, boot ${String(this.boot)}`)
    this.#begin()
    this.core?.start(this.clock.now())
    this.#wake(0)
  }

  /** The process ends at once. */
  kill(): void {
    this.disk.kill()
    this.#down('kill')
  }

  cutPower(): void {
    this.disk.cutPower()
    this.boot++
    this.clock.restart(within(this.#parts.random, 1, 5) * SECOND)
    this.#down('power')
    this.#parts.listener.onLoss(this)
  }

  /** Stops as an operator stops it; the process ends by itself. */
  stop(): void {
    this.give((core) => {
      core.stop()
    })
  }

  /** The run is over: gives back what the core has in memory. */
  close(): void {
    this.core?.close()
    this.core = undefined
  }

  freeze(): void {
    this.isFrozen = true
  }

  thaw(): void {
    this.isFrozen = false
    this.#turn?.cancel()
    this.#turn = undefined
    if (this.isUp) this.#wake(0)
  }

  /** Hands something to the core, at its next turn, if it still lives then. */
  give(what: (core: SimCore) => void): void {
    if (!this.isUp) return
    this.#inbox.push(what)
    this.wake()
  }

  /** There is something for the core: it has a turn soon. */
  wake(): void {
    if (this.isUp) this.#wake(spread(this.#parts.random, 2 * MICROSECOND, 150 * MICROSECOND))
  }

  /** A command and its answer, over the engine's socket: each takes its time, and none overtakes another. */
  command<V extends CoreVerb>(
    verb: V,
    args: CoreCommands[V]['args'],
    done: (answer: SimAnswer | undefined) => void = () => undefined,
  ): void {
    const { schedule } = this.#parts
    const life = this.life
    this.#controlNs = Math.max(this.#controlNs, schedule.nowNs + this.#controlDelayNs())
    schedule.at(this.#controlNs, () => {
      if (life !== this.life || !this.isUp) {
        done(undefined)
        return
      }
      const id = this.#nextCommand++
      this.#answers.set(id, done)
      this.give((core) => {
        core.command(id, verb, args)
      })
    })
  }

  #controlDelayNs(): number {
    return spread(this.#parts.random, 20 * MICROSECOND, CONTROL_DELAY_NS_MAX)
  }

  #begin(): void {
    this.life++
    this.#inbox = []
    this.disk.begin()
    const bootId = new Uint8Array(16)
    bootId.set([1, this.boot >> 8, this.boot & 0xff])
    this.core = new SimCore({ ...this.#parts.params, bootId })
  }

  #wake(delayNs: number): void {
    this.#plan(this.#parts.schedule.nowNs + delayNs)
  }

  #plan(atNs: number): void {
    if (this.isFrozen || (this.#turn !== undefined && this.#turn.atNs <= atNs)) return
    this.#turn?.cancel()
    this.#turn = this.#parts.schedule.at(atNs, () => {
      this.#turn = undefined
      this.#doTurn()
    })
  }

  #doTurn(): void {
    const core = this.core
    if (core === undefined || this.isFrozen) return
    const { listener, log } = this.#parts
    const inbox = this.#inbox
    this.#inbox = []
    this.steps += inbox.length + 1
    for (const what of inbox) what(core)
    listener.onTurn(this)
    const effects = core.turn(this.clock.now())
    log.event(this.name, this.index * 1000 + effects.io.length, () => describe(effects, inbox.length))
    for (const io of effects.io) this.disk.submit(io)
    if (effects.sends.length > 0) listener.onSends(this, effects.sends)
    if (effects.closes.length > 0) listener.onCloses(this, effects.closes)
    for (const reply of effects.replies) listener.onReply(this, reply)
    for (const answer of effects.answers) this.#answer(answer)
    for (const event of effects.events) if (this.core === core) this.#tell(event)
    if (this.core !== core) return
    // What the turn made room for.
    if (listener.onTurn(this)) this.wake()
    const deadline = core.nextDeadlineNs()
    if (deadline === undefined) return
    // A core that asks for turns and does nothing in them waits for what is under way: that comes as an input.
    const isIdle =
      inbox.length === 0 && effects.io.length + effects.sends.length + effects.replies.length === 0
    const restNs = within(this.#parts.random, 1, 20) * (isIdle ? 50 : 1) * MICROSECOND
    this.#plan(Math.max(this.clock.worldTimeOf(Number(deadline)), this.#parts.schedule.nowNs + restNs))
  }

  #answer(answer: SimAnswer): void {
    const done = this.#answers.get(answer.id)
    this.#answers.delete(answer.id)
    if (done === undefined) return
    this.#later(() => {
      done(answer)
    })
  }

  #tell(event: CoreEvent): void {
    const { listener, log } = this.#parts
    if (event.name === 'ready') this.isReady = true
    listener.onEvent(this, event)
    if (event.name === 'store-failed' || event.name === 'stopped') {
      const isFailed = event.name === 'store-failed'
      log.story(this.name, `${event.name} ${JSON.stringify(event.detail)}`)
      this.disk.kill()
      this.#down(isFailed ? 'failed' : 'stopped')
      if (this.disk.hasLost) listener.onLoss(this)
      return
    }
    const { life } = this
    this.#later(() => {
      if (this.life === life && this.isUp) listener.onTold(this, event)
    })
  }

  /** Answers and events reach whoever waits for them in order, and later. What the engine sent, it has sent. */
  #later(run: () => void): void {
    const { schedule } = this.#parts
    this.#answerNs = Math.max(this.#answerNs, schedule.nowNs + this.#controlDelayNs())
    schedule.at(this.#answerNs, run)
  }

  #down(how: Down): void {
    this.#parts.log.story(this.name, `is down: ${how}`)
    this.core?.close()
    this.core = undefined
    this.isReady = this.isFrozen = false
    this.#turn?.cancel()
    this.#turn = undefined
    this.#inbox = []
    const waiting = [...this.#answers.values()]
    this.#answers.clear()
    this.#parts.listener.onDown(this, how)
    for (const done of waiting) done(undefined)
  }
}

function describe(effects: SimEffects, inputs: number): string {
  const parts = [`turn: ${String(inputs)} in`]
  for (const io of effects.io) {
    const where = io.kind === 'sync' ? io.physicals.join(',') : String(io.physical)
    const at = io.kind === 'write' || io.kind === 'read' ? `:${String(io.offset)}` : ''
    const size =
      io.kind === 'write'
        ? ` +${String(io.bytes.length)}`
        : io.kind === 'read'
          ? ` +${String(io.length)}`
          : ''
    parts.push(`${io.kind} ${where}${at}${size}`)
  }
  for (const { stream, bytes } of effects.sends) parts.push(`send ${String(stream)} +${String(bytes.length)}`)
  for (const stream of effects.closes) parts.push(`close ${String(stream)}`)
  for (const { client, request, error } of effects.replies)
    parts.push(`reply ${String(client)}/${String(request)}${error === 0 ? '' : ` errno ${String(error)}`}`)
  for (const { name, detail } of effects.events) parts.push(`${name} ${JSON.stringify(detail)}`)
  for (const { id, errorCode } of effects.answers) parts.push(`answer ${String(id)} ${errorCode}`)
  return parts.join('; ')
}

/** Its disk may have made it refuse something with EIO. */
export function mayRefuse({ disk }: Host): boolean {
  return disk.hasFailed || disk.isRotten
}
