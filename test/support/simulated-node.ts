/** One store of a simulated cluster: the shipped core on a disk whose effects wait until the simulation completes them. */
import { type HostId, type StoreId } from '@cloudfs/interface'
import { SimCore, type SimAnswer, type SimEffects, type SimIo, type SimReply } from '@cloudfs/native'
import { type Random, SimulatedDisk } from './simulated-disk.js'

/** Small, so that writes soon go round the store, and checkpoints come often. */
const SEGMENT_LOG2 = 16
const PARAMS = {
  segmentLog2: SEGMENT_LOG2,
  segmentLimit: 96,
  recordBodyBytesMax: 16384,
  batchBodyBytesMax: 32768,
  checkpointBytes: 192 << 10,
  syncIntervalNs: 200_000_000,
}

interface Flight {
  readonly io: SimIo
  /** Of a sync: keeps what it covers. */
  readonly keep?: () => void
}

export class SimulatedNode {
  disk = new SimulatedDisk(2 ** SEGMENT_LOG2)
  /** Undefined while it is down. */
  core: SimCore | undefined
  /** It has recovered, and takes commands, clients and streams. */
  isReady = false
  nowNs = 1
  readonly replies = new Map<number, SimReply>()
  readonly answers = new Map<number, SimAnswer>()
  readonly #random: Random
  readonly #onEvent: (name: string, detail: unknown) => void
  #flights: Flight[] = []
  #isWoken = false

  constructor(random: Random, onEvent: (name: string, detail: unknown) => void) {
    this.#random = random
    this.#onEvent = onEvent
  }

  format(host: HostId, store: StoreId): void {
    this.core = new SimCore(PARAMS)
    this.core.format({ host, store }, this.nowNs)
    this.#isWoken = true
  }

  start(): void {
    this.core = new SimCore(PARAMS)
    this.core.start(this.nowNs)
    this.#isWoken = true
  }

  /** The process ends at once: of what was on its way to the page cache any beginning is there. */
  kill(): void {
    for (const { io } of this.#flights) {
      if (io.kind !== 'write' || this.#random() < 0.3) continue
      const share = this.#random() < 0.5 ? 1 : this.#random()
      const length = Math.floor((io.bytes.length * share) / 512) * 512
      this.disk.store({ ...io, bytes: io.bytes.subarray(0, length) })
    }
    this.#down()
  }

  /** The power goes: what was not synced is there in any part, or not. */
  cutPower(): void {
    for (const { io } of this.#flights) if (io.kind === 'write' && this.#random() < 0.5) this.disk.store(io)
    this.disk = this.disk.cutPower(this.#random)
    this.#down()
  }

  /** Something came in. */
  wake(): void {
    this.#isWoken = true
  }

  get isBusy(): boolean {
    return this.#flights.length > 0
  }

  /** Completes any one of the disk's effects. */
  completeOne(): void {
    const [flight] = this.#flights.splice(Math.floor(this.#random() * this.#flights.length), 1)
    if (flight === undefined || this.core === undefined) return
    if (flight.io.kind === 'sync') {
      flight.keep?.()
      this.core.complete(flight.io.id)
    } else {
      this.disk.carryOut(this.core, flight.io)
    }
    this.#isWoken = true
  }

  /** A turn, if there is a reason for one within `withinNs`. */
  turn(withinNs: number): SimEffects | undefined {
    if (this.core === undefined) return undefined
    const deadlineNs = this.core.nextDeadlineNs()
    this.nowNs += 1 + Math.floor(this.#random() * withinNs)
    if (!this.#isWoken && (deadlineNs === undefined || deadlineNs > this.nowNs)) return undefined
    this.#isWoken = false
    const effects = this.core.turn(this.nowNs)
    for (const io of effects.io)
      this.#flights.push(io.kind === 'sync' ? { io, keep: this.disk.beginSync(io.physicals) } : { io })
    for (const reply of effects.replies) this.replies.set(reply.request, reply)
    for (const answer of effects.answers) this.answers.set(answer.id, answer)
    for (const { name, detail } of effects.events) {
      if (name === 'ready') this.isReady = true
      this.#onEvent(name, detail)
    }
    return effects
  }

  #down(): void {
    this.core = undefined
    this.isReady = false
    this.#flights = []
    this.replies.clear()
    this.answers.clear()
  }
}
