/** Several stores of the shipped core, their streams joined by a simulated network; everything happens when it is told to. */
import { encodeCreate, padPayload, stampHashOf } from '@cloudfs/format'
import {
  bytesToHex,
  type CoreCommands,
  type CoreVerb,
  HostId,
  Stamp,
  StoreId,
  type VolumeId,
} from '@cloudfs/interface'
import type { SimOp } from '@cloudfs/native'
import type { Random } from './simulated-disk.js'
import { SimulatedNode } from './simulated-node.js'

/** One direction of a connection: bytes sent and not received. */
interface Direction {
  readonly from: number
  readonly to: number
  readonly fromStream: number
  readonly toStream: number
  queue: Buffer[]
}

interface Wire {
  readonly follower: number
  readonly directions: readonly [Direction, Direction]
}

const hostOf = (index: number) => HostId.parse(`1${String(index)}`.repeat(20))
const storeOf = (index: number) => StoreId.parse(`a${String(index)}`.repeat(20))

/** Node 0 is the primary of every volume. */
export class SimulatedCluster {
  readonly nodes: SimulatedNode[]
  /** Version ids by lsn, as nodes applied them: one that comes twice must be the same. */
  readonly #versions = new Map<string, string>()
  readonly #random: Random
  #wires: Wire[] = []
  #closing: { node: number; stream: number }[] = []
  #nextId = 1
  /** Frames carry blocks instead of records. */
  compactions = 0
  volume: VolumeId | undefined

  constructor(random: Random, count: number) {
    this.#random = random
    this.nodes = Array.from({ length: count }, (_, index) => {
      const node = new SimulatedNode(random, (name, detail) => {
        this.#onEvent(index, name, detail)
      })
      node.format(hostOf(index), storeOf(index))
      return node
    })
  }

  node(index: number): SimulatedNode {
    const node = this.nodes[index]
    if (node === undefined) throw new Error('no such node')
    return node
  }

  command<V extends CoreVerb>(index: number, verb: V, args: CoreCommands[V]['args']): number {
    const id = this.#nextId++
    this.node(index).core?.command(id, verb, args)
    this.node(index).wake()
    return id
  }

  /** @returns the answer's result; undefined while there is none */
  answer(index: number, id: number): { result: unknown; errorCode: string; message: string } | undefined {
    const answer = this.node(index).answers.get(id)
    this.node(index).answers.delete(id)
    return answer
  }

  submit(index: number, op: Omit<SimOp, 'request'>): number {
    const request = this.#nextId++
    this.node(index).core?.submit({ ...op, request })
    this.node(index).wake()
    return request
  }

  create(sizeBytes: number, mode: 'durable' | 'quorum'): number {
    const stamp = Stamp.parse('77'.repeat(32))
    const members = this.nodes.map((_, index) => ({
      host: hostOf(index),
      store: storeOf(index),
      role: 'data' as const,
      slice: new Uint8Array(),
    }))
    const payload = encodeCreate({
      sizeBytes: BigInt(sizeBytes),
      mode,
      name: 'disk',
      nonce: new Uint8Array(16),
      view: { stampHash: stampHashOf(stamp), primary: hostOf(0), leaseMs: 500, members },
    })
    return this.command(0, 'create', {
      stamp,
      payload: bytesToHex(padPayload(payload)),
      epoch: { counter: 1, host: hostOf(0) },
    })
  }

  isConnected(follower: number): boolean {
    return this.#wires.some((wire) => wire.follower === follower)
  }

  /** A follower opens a stream to the primary, if both have it. */
  connect(follower: number): void {
    const [leader, other] = [this.node(0), this.node(follower)]
    if (this.volume === undefined || !leader.isReady || !other.isReady) return
    const atLeader = leader.core?.openStream('leader', this.volume)
    const atFollower = other.core?.openStream('follower', this.volume)
    if (atLeader === undefined || atFollower === undefined) throw new Error('a node that is ready has a core')
    this.#wires.push({
      follower,
      directions: [
        { from: 0, to: follower, fromStream: atLeader, toStream: atFollower, queue: [] },
        { from: follower, to: 0, fromStream: atFollower, toStream: atLeader, queue: [] },
      ],
    })
    leader.wake()
    other.wake()
  }

  cut(follower: number): void {
    for (const wire of this.#wires.filter((one) => one.follower === follower)) this.#end(wire)
  }

  /** Ends a node, as a crash or as a power cut does. */
  down(index: number, how: 'kill' | 'power'): void {
    const node = this.node(index)
    if (how === 'kill') node.kill()
    else node.cutPower()
    for (const wire of this.#wires.filter(({ follower }) => index === 0 || follower === index))
      this.#end(wire)
  }

  /** One thing happens: a node's turn, an effect of a disk, bytes that arrive. */
  step(withinNs = 2_000_000): void {
    const index = Math.floor(this.#random() * this.nodes.length)
    const node = this.node(index)
    const draw = this.#random()
    if (draw < 0.4) this.turn(index, withinNs)
    else if (draw < 0.7) node.completeOne()
    else this.#deliverSome()
  }

  turn(index: number, withinNs: number): void {
    const effects = this.node(index).turn(withinNs)
    if (effects === undefined) return
    for (const { stream, bytes } of effects.sends) {
      if (bytes[4] === 7) this.compactions++
      this.#direction(index, stream)?.queue.push(bytes)
    }
    for (const stream of effects.closes) this.#closing.push({ node: index, stream })
    this.#closeDrained()
  }

  /** Everything goes on at full speed for so long, by every node's clock. */
  settle(rounds: number): void {
    for (let round = 0; round < rounds; round++) {
      for (let index = 0; index < this.nodes.length; index++) {
        this.turn(index, 2_000_000)
        while (this.node(index).isBusy) this.node(index).completeOne()
      }
      for (const wire of this.#wires)
        for (const direction of wire.directions) while (this.#deliver(direction, 1 << 20));
      this.#closeDrained()
    }
  }

  #onEvent(index: number, name: string, detail: unknown): void {
    if (name === 'volume-created' && index === 0) this.volume = (detail as { volume: VolumeId }).volume
    if (name === 'store-failed' || name === 'block-corrupt' || name === 'page-corrupt')
      throw new Error(`node ${String(index)}: ${name} ${JSON.stringify(detail)}`)
    if (name !== 'head-moved') return
    const { volume, lsn, version } = detail as { volume: string; lsn: number; version: string }
    const key = `${volume} ${String(lsn)}`
    const before = this.#versions.get(key)
    if (before !== undefined && before !== version)
      throw new Error(`node ${String(index)} applied ${version} at lsn ${String(lsn)}, another one ${before}`)
    this.#versions.set(key, version)
  }

  #direction(node: number, stream: number): Direction | undefined {
    for (const wire of this.#wires)
      for (const one of wire.directions) if (one.from === node && one.fromStream === stream) return one
    return undefined
  }

  #deliverSome(): void {
    const wire = this.#wires[Math.floor(this.#random() * this.#wires.length)]
    const direction = wire?.directions[this.#random() < 0.5 ? 0 : 1]
    if (direction === undefined) return
    this.#deliver(direction, 1 + Math.floor(this.#random() * (this.#random() < 0.3 ? 300 : 60_000)))
    this.#closeDrained()
  }

  /** @returns whether anything arrived */
  #deliver(direction: Direction, bytesMax: number): boolean {
    const [head, ...rest] = direction.queue
    const target = this.node(direction.to)
    if (head === undefined || target.core === undefined) return false
    const taken = target.core.streamReceive(direction.toStream, head.subarray(0, bytesMax))
    if (taken === 0) return false
    direction.queue = taken === head.length ? rest : [head.subarray(taken), ...rest]
    target.wake()
    const source = this.node(direction.from)
    source.core?.streamSent(direction.fromStream, taken)
    source.wake()
    return true
  }

  /** Ends connections that one side closed, once what it sent before has arrived (or cannot). */
  #closeDrained(): void {
    const closing = this.#closing
    this.#closing = []
    for (const { node, stream } of closing) {
      const direction = this.#direction(node, stream)
      if (direction === undefined) continue
      while (this.#deliver(direction, 1 << 20));
      const wire = this.#wires.find(({ directions }) => directions.includes(direction))
      if (wire !== undefined) this.#end(wire)
    }
  }

  #end(wire: Wire): void {
    this.#wires = this.#wires.filter((one) => one !== wire)
    for (const { from, fromStream } of wire.directions) {
      this.node(from).core?.streamClosed(fromStream)
      this.node(from).wake()
    }
  }
}
