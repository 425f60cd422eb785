/** One store of the shipped core on a simulated disk, with commands and requests that are answered before they return. */
import { encodeCreate, padPayload, stampHashOf } from '@cloudfs/format'
import {
  bytesToHex,
  type CoreCommands,
  type CoreVerb,
  type Epoch,
  HostId,
  Stamp,
  StoreId,
  type VolumeId,
} from '@cloudfs/interface'
import { SimCore, type SimOp, type SimReply } from '@cloudfs/native'
import { type Random, SimulatedDisk } from '@cloudfs/simulator'

const SEGMENT_LOG2 = 16
const PARAMS = {
  segmentLog2: SEGMENT_LOG2,
  segmentLimit: 400,
  recordBodyBytesMax: 16384,
  batchBodyBytesMax: 32768,
  checkpointBytes: 2 ** 40,
}

export class SimulatedStore {
  readonly disk: SimulatedDisk
  readonly #core = new SimCore(PARAMS)
  readonly #random: Random
  readonly #host = HostId.parse('02'.repeat(20))
  readonly #answers = new Map<number, { errorCode: string; message: string; result: unknown }>()
  readonly #replies = new Map<number, SimReply>()
  readonly #events: { name: string; detail: unknown }[] = []
  #nowNs = 1
  #nextId = 1
  /** Something came in since the last turn. */
  #isWoken = false

  private constructor(disk: SimulatedDisk, random: Random) {
    this.disk = disk
    this.#random = random
  }

  static format(random: Random): SimulatedStore {
    const store = new SimulatedStore(new SimulatedDisk(2 ** SEGMENT_LOG2), random)
    store.#core.format({ store: StoreId.parse('01'.repeat(20)), host: store.#host }, store.#nowNs)
    store.#reach('ready')
    return store
  }

  /** Recovers what is on a disk. */
  static start(disk: SimulatedDisk, random: Random): SimulatedStore {
    const store = new SimulatedStore(disk, random)
    store.#core.start(store.#nowNs)
    store.#reach('ready')
    return store
  }

  /** Ends cleanly. */
  stop(): void {
    this.#core.stop()
    this.#reach('stopped')
  }

  command<V extends CoreVerb>(verb: V, args: CoreCommands[V]['args']): CoreCommands[V]['result'] {
    const id = this.#nextId++
    this.#core.command(id, verb, args)
    const answer = this.#until(() => this.#answers.get(id), verb)
    if (answer.errorCode !== '') throw Object.assign(new Error(answer.message), { code: answer.errorCode })
    return answer.result
  }

  /** @param from - what to branch from: `VOLUME` or `VOLUME@SNAPSHOT`, with its lsn and version */
  create(
    name: string,
    sizeBytes: number,
    from?: { text: string; volume: VolumeId; lsn: number; version: string },
  ): VolumeId {
    const stamp = Stamp.fromBytes(this.draw(32))
    const epoch: Epoch = { counter: 1, host: this.#host }
    const member = {
      host: this.#host,
      store: StoreId.parse('01'.repeat(20)),
      role: 'data' as const,
      slice: new Uint8Array(),
    }
    const payload = encodeCreate({
      sizeBytes: BigInt(sizeBytes),
      mode: 'quorum',
      name,
      nonce: this.draw(16),
      ...(from && {
        parent: { volume: from.volume, lsn: from.lsn as never, publicId: from.version as never },
      }),
      view: { stampHash: stampHashOf(stamp), primary: this.#host, leaseMs: 500, members: [member] },
    })
    const args = { stamp, payload: bytesToHex(padPayload(payload)), epoch }
    const made =
      from === undefined ? this.command('create', args) : this.command('branch', { ...args, from: from.text })
    return made.volume
  }

  /** Carries out a client's request. */
  request(name: string, op: Pick<SimOp, 'kind' | 'offset' | 'length' | 'payload' | 'fua'>): SimReply {
    const target = this.#core.openExport(name)
    if (target === undefined) throw new Error(`${name}: ${this.#core.openRefusal(name)}`)
    const request = this.#nextId++
    this.#core.submit({ ...op, request, target: target.handle })
    const reply = this.#until(() => this.#replies.get(request), op.kind)
    this.#core.closeExport(target.handle)
    return reply
  }

  /** Hands in requests that nobody will see answered: the disk gets their writes, and the core hears no more of it. */
  abandon(name: string, ops: readonly Pick<SimOp, 'kind' | 'offset' | 'length' | 'payload'>[]): void {
    const target = this.#core.openExport(name)
    if (target === undefined) throw new Error(`${name}: ${this.#core.openRefusal(name)}`)
    for (const op of ops) {
      this.#core.submit({ ...op, request: this.#nextId++, target: target.handle })
      for (const io of this.#core.turn(++this.#nowNs).io) if (io.kind === 'write') this.disk.store(io)
    }
  }

  /** All bytes of an export. */
  read(name: string, sizeBytes: number): Buffer {
    const { error, pieces } = this.request(name, { kind: 'read', offset: 0, length: sizeBytes })
    if (error !== 0) throw new Error(`a read was answered with errno ${error}`)
    return Buffer.concat(pieces.map(({ bytes, data }) => data ?? Buffer.alloc(bytes)))
  }

  draw(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => Math.floor(this.#random() * 256))
  }

  /** Lets time pass until the core wants nothing more. */
  settle(): void {
    for (let turn = 0; turn < 10_000; turn++) if (!this.#turn()) return
    throw new Error('the core does not come to rest')
  }

  #reach(name: 'ready' | 'stopped'): void {
    this.#until(
      () => this.#events.find((event) => event.name === name || event.name === 'store-failed'),
      name,
    )
    const failed = this.#events.find((event) => event.name === 'store-failed')
    if (failed !== undefined) throw new Error(`the store failed: ${JSON.stringify(failed.detail)}`)
  }

  /** Turns until `done` gives something. */
  #until<T>(done: () => T | undefined, what: string): T {
    this.#isWoken = true
    for (let turn = 0; turn < 10_000; turn++) {
      const value = done()
      if (value !== undefined) return value
      if (!this.#turn()) throw new Error(`${what}: the core sleeps, and nothing is left that would wake it`)
    }
    throw new Error(`${what}: no end after 10000 turns`)
  }

  /**
   * One turn, as the shell's loop does it: because something came in, or because the core asked for it.
   *
   * @returns whether there was a reason for one
   */
  #turn(): boolean {
    const deadlineNs = this.#core.nextDeadlineNs()
    if (!this.#isWoken && deadlineNs === undefined) return false
    // A millisecond, so that much is not synced yet when the power goes.
    this.#nowNs = Math.max(this.#nowNs + 1_000_000, this.#isWoken ? 0 : Number(deadlineNs))
    const { io, replies, events, answers } = this.#core.turn(this.#nowNs)
    for (const each of io) this.disk.carryOut(this.#core, each)
    this.#isWoken = io.length > 0
    for (const reply of replies) this.#replies.set(reply.request, reply)
    for (const answer of answers) this.#answers.set(answer.id, answer)
    this.#events.push(...events)
    return true
  }
}
