/**
 * Goal: three replicas of a volume lose nothing that was acknowledged, agree on every update, and are alike in the end,
 * whatever happens meanwhile. Method: the shipped core thrice, on simulated disks and a simulated network, all from one
 * seed: clients' work, delays, cut connections, processes killed and power cut between any two effects.
 *
 * Power: in mode `durable` any node's goes. In mode `quorum` the primary's does not: it would have to stay silent until
 * it has heard all the others, which views bring (docs/wire-protocol.md, A primary that starts again).
 */
import type { VolumeId } from '@cloudfs/interface'
import { describe, expect, test } from 'vitest'
import { ContentModel, contentOf, UNIT_BYTES } from './support/content-model.js'
import { SimulatedCluster } from './support/simulated-cluster.js'
import { type Random, randomFrom } from './support/simulated-disk.js'

const BLOCK = 4096
const BLOCK_COUNT = 96
const UNIT_COUNT = (BLOCK_COUNT * BLOCK) / UNIT_BYTES
const STEPS = 6000
const isLong = process.env['CLOUDFS_TEST_LONG'] !== undefined
const first = Number(process.env['CLOUDFS_TEST_SEED'] ?? 1)
const count = Number(process.env['CLOUDFS_TEST_COUNT'] ?? (isLong ? 3000 : 24))
/**
 * Seeds that once found a bug: 1019 and 1025, a primary read what others had committed before its own write was done; 1057, a
 * follower with records that its primary never had took the commit point, and acknowledged, for those too.
 */
const kept: readonly number[] = [1019, 1025, 1057]
const seeds = [...kept, ...Array.from({ length: count }, (_, index) => first + index)]

interface Request {
  readonly id: number
  readonly issued: number
  readonly done: (error: number, pieces: readonly { bytes: number; data?: Buffer }[]) => void
}

/** A client of the volume, and whoever makes things go wrong. */
class Life {
  readonly cluster: SimulatedCluster
  readonly model = new ContentModel(UNIT_COUNT)
  readonly #random: Random
  readonly #mode: 'durable' | 'quorum'
  #requests: Request[] = []
  #commands: { node: number; id: number }[] = []
  #target: number | undefined
  #nextWrite = 1
  #now = 0
  #snapshots = 0
  readonly #downUntil = [0, 0, 0]
  readonly #cutUntil = [0, 0, 0]
  readonly seen = { writes: 0, crashes: 0, powerCuts: 0, cuts: 0 }

  constructor(seed: number) {
    this.#random = randomFrom(seed)
    this.#mode = seed % 2 === 0 ? 'durable' : 'quorum'
    this.cluster = new SimulatedCluster(this.#random, 3)
    this.cluster.settle(20)
    const created = this.cluster.create(BLOCK_COUNT * BLOCK, this.#mode)
    this.cluster.settle(20)
    this.#connectAll()
    this.cluster.settle(50)
    expect(this.cluster.answer(0, created)?.errorCode).toBe('')
  }

  get volume(): VolumeId {
    if (this.cluster.volume === undefined) throw new Error('the volume was not created')
    return this.cluster.volume
  }

  run(): void {
    for (let step = 0; step < STEPS; step++) {
      this.#now++
      this.cluster.step(this.#random() < 0.02 ? 150_000_000 : 300_000)
      this.#takeReplies()
      if (this.#random() < 0.15) this.#work()
      if (this.#random() < 0.01) this.#disturb()
      this.#mend(false)
    }
  }

  /** All come back, and time passes. */
  rest(): void {
    this.#mend(true)
    for (let round = 0; round < 30; round++) {
      this.cluster.settle(20)
      this.#takeReplies()
      this.#connectAll()
    }
    expect(
      this.#requests.map(({ id }) => id),
      'requests without an answer',
    ).toEqual([])
    this.#commands = []
  }

  #work(): void {
    if (!this.cluster.node(0).isReady) return
    // Just started it may not know yet that others have the volume at all.
    this.#target ??= this.cluster.node(0).core?.openExport(this.volume)?.handle
    if (this.#target === undefined) return
    const draw = this.#random()
    if (draw < 0.62) this.#write()
    else if (draw < 0.72) this.#zero()
    else if (draw < 0.8) this.#flush()
    else if (draw < 0.95) this.#read()
    else this.#manage()
  }

  #range(): { first: number; units: number } {
    const perBlock = BLOCK / UNIT_BYTES
    if (this.#random() < 0.2) {
      const start = Math.floor(this.#random() * (UNIT_COUNT - 12))
      return { first: start, units: 1 + Math.floor(this.#random() * 12) }
    }
    // Some blocks are written again and again, others hardly ever.
    const block = Math.floor(this.#random() ** 2 * (BLOCK_COUNT - 4))
    return { first: block * perBlock, units: (1 + Math.floor(this.#random() * 4)) * perBlock }
  }

  #write(): void {
    const { first: start, units } = this.#range()
    const id = this.#nextWrite++
    const fua = this.#random() < 0.1
    this.seen.writes++
    this.#change({ kind: 'write', payload: contentOf(id, units), fua }, id, start, units)
  }

  #zero(): void {
    const { first: start, units } = this.#range()
    const [from, size] = [start * UNIT_BYTES, units * UNIT_BYTES]
    if (from % BLOCK === 0 && size % BLOCK === 0 && this.#random() < 0.5)
      this.#change({ kind: 'trim', length: size }, 0, start, units)
    else this.#change({ kind: 'write-zeroes', length: size }, 0, start, units)
  }

  #change(
    op: { kind: 'write' | 'trim' | 'write-zeroes'; payload?: Buffer; length?: number; fua?: boolean },
    id: number,
    start: number,
    units: number,
  ): void {
    const acknowledge = this.model.issue(id, start, units, this.#now)
    this.#submit({ ...op, offset: start * UNIT_BYTES }, (error) => {
      if (error === 0) acknowledge(this.#now, op.fua === true || this.#mode === 'durable')
      else expect(error, op.kind).toBe(28) // ENOSPC: the store is small
    })
  }

  #flush(): void {
    const issued = this.#now
    this.#submit({ kind: 'flush' }, (error) => {
      expect(error).toBe(0)
      this.model.flush(issued)
    })
  }

  #read(): void {
    const { first: start, units } = this.#range()
    const issued = this.#now
    this.#submit(
      { kind: 'read', offset: start * UNIT_BYTES, length: units * UNIT_BYTES },
      (error, pieces) => {
        expect(error).toBe(0)
        const bytes = Buffer.concat(pieces.map((piece) => piece.data ?? Buffer.alloc(piece.bytes)))
        expect(this.model.fault(bytes, start, issued)).toBeUndefined()
      },
    )
  }

  #manage(): void {
    const node = Math.floor(this.#random() * 3)
    const draw = this.#random()
    if (draw < 0.5) this.#command(node, 'checkpoint', {})
    else if (draw < 0.7) this.#command(node, 'clean', { logical: Math.floor(this.#random() * 200) })
    else if (draw < 0.85)
      this.#command(0, 'snapshot', { volume: this.volume, name: `s${String(this.#snapshots++)}` })
    else if (this.#snapshots > 0)
      this.#command(0, 'delete-snapshot', {
        volume: this.volume,
        name: `s${String(Math.floor(this.#random() * this.#snapshots))}`,
      })
  }

  #command(
    node: number,
    ...[verb, args]: Parameters<SimulatedCluster['command']> extends [number, ...infer Rest] ? Rest : never
  ): void {
    if (this.cluster.node(node).isReady)
      this.#commands.push({ node, id: this.cluster.command(node, verb, args) })
  }

  #submit(op: object, done: Request['done']): void {
    const id = this.cluster.submit(0, { ...op, target: this.#target } as never)
    this.#requests.push({ id, issued: this.#now, done })
  }

  #takeReplies(): void {
    const { replies } = this.cluster.node(0)
    if (replies.size === 0) return
    this.#requests = this.#requests.filter(({ id, done }) => {
      const reply = replies.get(id)
      if (reply !== undefined) done(reply.error, reply.pieces)
      return reply === undefined
    })
    replies.clear()
  }

  #disturb(): void {
    const node = Math.floor(this.#random() * 3)
    const draw = this.#random()
    if (draw < 0.5) {
      if (node === 0) return
      this.seen.cuts++
      this.cluster.cut(node)
      this.#cutUntil[node] = this.#now + this.#while()
      return
    }
    if (this.cluster.node(node).core === undefined) return
    const mayLosePower = node !== 0 || this.#mode === 'durable'
    const how = mayLosePower && this.#random() < 0.5 ? 'power' : 'kill'
    if (how === 'power') this.seen.powerCuts++
    else this.seen.crashes++
    this.cluster.down(node, how)
    this.#downUntil[node] = this.#now + this.#while()
    if (node !== 0) return
    // Whoever waited for an answer never gets one.
    this.#requests = []
    this.#target = undefined
  }

  /** Mostly a moment, sometimes so long that the log no longer holds what was missed. */
  #while(): number {
    return Math.floor(this.#random() * (this.#random() < 0.3 ? 2500 : 200))
  }

  #mend(now: boolean): void {
    for (const [index, node] of this.cluster.nodes.entries()) {
      if (node.core === undefined && (now || this.#now >= (this.#downUntil[index] ?? 0))) node.start()
      if (now) this.#cutUntil[index] = 0
    }
    if (this.#now % 16 === 0) this.#connectAll()
  }

  #connectAll(): void {
    for (const follower of [1, 2])
      if (!this.cluster.isConnected(follower) && this.#now >= (this.#cutUntil[follower] ?? 0))
        this.cluster.connect(follower)
  }

  /** All bytes of an export of a node. */
  contentsAt(index: number, name: string): Buffer {
    const core = this.cluster.node(index).core
    const disk = core?.openExport(name) ?? core?.openExport(`replica:${name}`)
    if (disk === undefined) throw new Error(`node ${String(index)} does not have ${name}`)
    const id = this.cluster.submit(index, {
      kind: 'read',
      target: disk.handle,
      offset: 0,
      length: disk.sizeBytes,
    })
    this.cluster.settle(10)
    const reply = this.cluster.node(index).replies.get(id)
    this.cluster.node(index).replies.clear()
    expect(reply?.error, `reading ${name} at node ${String(index)}`).toBe(0)
    return Buffer.concat((reply?.pieces ?? []).map((piece) => piece.data ?? Buffer.alloc(piece.bytes)))
  }

  check(): void {
    const volume = this.volume
    const asked = [0, 1, 2].map((index) => this.cluster.command(index, 'volumes', {}))
    const audits = [0, 1, 2].map((index) => this.cluster.command(index, 'audit' as never, {} as never))
    this.cluster.settle(20)
    const described = asked.map((id, index) => {
      const result = this.cluster.answer(index, id)?.result as {
        version: string
        lsn: number
        snapshots: { name: string; version: string; lsn: number }[]
      }[]
      const [one] = result
      return { version: one?.version, lsn: one?.lsn, snapshots: one?.snapshots }
    })
    expect(described[1]).toEqual(described[0])
    expect(described[2]).toEqual(described[0])
    audits.forEach((id, index) => {
      expect(this.cluster.answer(index, id)?.message, `audit of node ${String(index)}`).toBe('')
    })
    const names = [volume, ...(described[0]?.snapshots ?? []).map(({ name }) => `${volume}@${name}`)]
    for (const name of names) {
      const wanted = this.contentsAt(0, name)
      if (name === volume) expect(this.model.fault(wanted, 0, Infinity)).toBeUndefined()
      for (const index of [1, 2]) expect(this.contentsAt(index, name).equals(wanted), name).toBe(true)
    }
  }
}

describe('three replicas agree and lose nothing, whatever happens', () => {
  const seen = { writes: 0, crashes: 0, powerCuts: 0, cuts: 0, compactions: 0 }

  test.each(seeds)('seed %i', (seed) => {
    const life = new Life(seed)
    for (let part = 0; part < 2; part++) {
      life.run()
      life.rest()
      life.check()
    }
    for (const key of ['writes', 'crashes', 'powerCuts', 'cuts'] as const) seen[key] += life.seen[key]
    seen.compactions += life.cluster.compactions
  })

  test('and all of it did happen', () => {
    for (const [what, times] of Object.entries(seen)) expect(times, what).toBeGreaterThan(0)
  })
})
