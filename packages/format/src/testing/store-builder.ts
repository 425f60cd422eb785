/**
 * Makes stores with this package's encoders: small, from one seed, by the plainest means. Maps are `Map`s, a dead list is
 * what a parent's map has and its child's has not, a checkpoint writes every page anew. So it shares no idea, and no
 * mistake, with the engine or with the verifier.
 */
import assert from 'node:assert'
import { createHash } from 'node:crypto'
import type { VolumeId } from '@cloudfs/interface'
import {
  BLOCK_BYTES,
  type Epoch,
  HostId,
  type Lsn,
  PAGE_BYTES,
  PAGE_ENTRIES,
  SessionId,
  SLOT_BYTES,
  Stamp,
  StoreId,
  Token,
  type VersionId,
  volumeIdOf,
} from '@cloudfs/interface'
import {
  blockDigest,
  type BlockSum,
  type Checkpoint,
  type CheckpointNode,
  crc32c,
  encodeCheckpoint,
  encodeCreate,
  encodeResize,
  encodeSnapshotName,
  encodeSuperblock,
  encodeView,
  type Entry,
  ENTRY_EMPTY,
  type Extent,
  type LocalItem,
  linkOf,
  type LogRecord,
  type NodeKind,
  padPayload,
  publicOf,
  type Run,
  type SegmentKind,
  stampHashOf,
  tokenOfLink,
} from '../index.js'
import { MemoryMedium } from './memory-medium.js'
import {
  keyOf,
  type OnPlaced,
  type Placed,
  type Queued,
  type Segment,
  SegmentWriter,
} from './segment-writer.js'

interface Node {
  readonly id: bigint
  parent: bigint
  readonly kind: NodeKind
  readonly volume: VolumeId
  readonly name: string
  readonly map: Map<number, Entry>
  lsn: Lsn
  publicId: VersionId
  size: number
}

/** A volume as the builder knows it. */
export interface BuiltVolume {
  readonly id: VolumeId
  readonly name: string
  readonly head: bigint
  readonly create: Uint8Array
  readonly view: Uint8Array
  readonly firstLsn: Lsn
  readonly stamp: Stamp
  lsn: Lsn
  publicId: VersionId
  link: Uint8Array
  token: Token
}

export class StoreBuilder {
  readonly medium = new MemoryMedium()
  /** Changes what is written, for tests of what must not be: checksums hold, contents lie. */
  tamper: { checkpoint?: (checkpoint: Checkpoint) => Checkpoint; run?: (run: Run) => Run } = {}
  readonly segmentLog2: number
  readonly store: StoreId
  readonly host: HostId
  readonly epoch: Epoch
  readonly volumes = new Map<VolumeId, BuiltVolume>()
  readonly #seed: string
  readonly #nodes = new Map<bigint, Node>()
  readonly #locals = new Map<string, { volume: VolumeId; epoch: Epoch; item: LocalItem }>()
  readonly #queued: Queued[] = []
  readonly #log: SegmentWriter
  #drawn = 0
  #nextNode = 1n
  #superblockSequence = 0n
  #checkpoint = { root: ENTRY_EMPTY, bytes: 0n, physical: 0, height: 0 }

  constructor({ seed = 'store', segmentLog2 = 18 } = {}) {
    this.#seed = seed
    this.segmentLog2 = segmentLog2
    this.store = StoreId.fromBytes(this.draw(20))
    this.host = HostId.fromBytes(this.draw(20))
    this.epoch = { counter: 1, host: this.host }
    this.#log = new SegmentWriter(this.medium, this.store, this.segmentBytes)
    this.#log.tamperRun = (run) => this.tamper.run?.(run) ?? run
    this.#writeSuperblock()
    this.#writeSuperblock()
  }

  get segmentBytes(): number {
    return 2 ** this.segmentLog2
  }

  /** Bytes that follow from the seed. */
  draw(count: number): Uint8Array {
    const parts: Uint8Array[] = []
    for (let length = 0; length < count; length += 32) {
      parts.push(
        createHash('sha256')
          .update(`${this.#seed}.${String(this.#drawn++)}`)
          .digest(),
      )
    }
    return new Uint8Array(Buffer.concat(parts).subarray(0, count))
  }

  /** A block that follows from the seed. */
  block(): Uint8Array {
    return this.draw(BLOCK_BYTES)
  }

  /** Creates a volume, or a branch of a version that a node has. */
  create(name: string, blocks: number, parent?: Node): BuiltVolume {
    const stamp = Stamp.fromBytes(this.draw(32))
    const member = { host: this.host, store: this.store, role: 'data' as const, slice: this.draw(9) }
    const view = { stampHash: stampHashOf(stamp), primary: this.host, leaseMs: 500, members: [member] }
    const create = padPayload(
      encodeCreate({
        sizeBytes: BigInt(blocks * BLOCK_BYTES),
        mode: 'quorum',
        name,
        nonce: this.draw(16),
        ...(parent && { parent: { volume: parent.volume, lsn: parent.lsn, publicId: parent.publicId } }),
        view,
      }),
    )
    const lsn = ((parent?.lsn ?? 0) + 1) as Lsn
    const record: LogRecord = {
      kind: 'create',
      flags: 0,
      requestSequence: 0n,
      parent: Token.zero,
      payload: create,
    }
    const link = linkOf({ epoch: this.epoch, session: SessionId.zero }, lsn, record)
    const token = tokenOfLink(stamp, link)
    const publicId = publicOf(token)
    const id = volumeIdOf(publicId)
    const node = this.#addNode('head', id, '', lsn, publicId, blocks, new Map(parent?.map), parent?.id ?? 0n)
    const volume: BuiltVolume = {
      id,
      name,
      head: node.id,
      create,
      view: padPayload(encodeView(view)),
      firstLsn: lsn,
      stamp,
      lsn,
      publicId,
      link,
      token,
    }
    this.volumes.set(id, volume)
    this.#queueRun(volume, lsn, [record], [], publicId, () => undefined)
    this.local(id, { kind: 'stamp', bytes: Stamp.toBytes(stamp) })
    return volume
  }

  /** Writes blocks from `first` on; `undefined` stands for zeros. */
  write(volume: BuiltVolume, first: number, blocks: readonly (Uint8Array | undefined)[]): void {
    const extents: Extent[] = blocks.map((block, index) => ({
      kind: block === undefined ? 'zeroed' : 'data',
      block: first + index,
      count: 1,
    }))
    const bodies = blocks.filter((block) => block !== undefined)
    this.#update(volume, { kind: 'write', extents, sums: bodies.map(sumOf) }, bodies, (lsn, places) => {
      let stored = 0
      for (const [index, block] of blocks.entries()) {
        const entry =
          block === undefined
            ? { ...ENTRY_EMPTY, birth: lsn }
            : { ...(places[stored++] as Placed), birth: lsn, crc: crc32c(block) }
        this.#replace(volume, first + index, entry)
      }
    })
  }

  trim(volume: BuiltVolume, block: number, count: number): void {
    this.#update(
      volume,
      { kind: 'write', extents: [{ kind: 'trimmed', block, count }], sums: [] },
      [],
      (lsn) => {
        for (let index = block; index < block + count; index++) {
          this.#replace(volume, index, { ...ENTRY_EMPTY, birth: lsn })
        }
      },
    )
  }

  resize(volume: BuiltVolume, blocks: number): void {
    const payload = padPayload(encodeResize(BigInt(blocks * BLOCK_BYTES)))
    this.#update(volume, { kind: 'resize', flags: 0, payload }, [], (lsn) => {
      const head = this.nodeOf(volume)
      for (const block of [...head.map.keys()]) {
        if (block >= blocks) this.#replace(volume, block, { ...ENTRY_EMPTY, birth: lsn })
      }
      head.size = blocks
    })
  }

  snapshot(volume: BuiltVolume, name: string): Node {
    const payload = padPayload(encodeSnapshotName(name))
    this.#update(volume, { kind: 'snapshot', flags: 0, payload }, [], () => undefined)
    this.append()
    return this.#split(volume, 'named', name)
  }

  /** Branches from the volume's present state. */
  branch(volume: BuiltVolume, name: string): BuiltVolume {
    this.append()
    const point = this.#split(volume, 'hidden', '')
    return this.create(name, point.size, point)
  }

  local(volume: VolumeId, item: LocalItem): void {
    this.#locals.set(`${volume}.${item.kind}`, { volume, epoch: this.epoch, item })
    const run: Run = { type: 'local', ...this.#common(volume), items: [item] }
    this.#queued.push({ run, bodies: [], onPlaced: () => undefined })
  }

  /** Moves blocks of a volume's head, as the cleaner does, leaving forwards. */
  move(volume: BuiltVolume, blocks: readonly number[]): void {
    this.append()
    const head = this.nodeOf(volume)
    const from = blocks.map((block) => {
      const entry = head.map.get(block)
      assert(entry !== undefined && entry.segment !== 0, 'a block moved is stored')
      return { block, entry, place: this.#log.resolve(entry) }
    })
    const bodies = from.map(({ place }) => this.#log.read(place))
    const run: Run = {
      type: 'moved',
      ...this.#common(volume.id),
      blocks: from.map(({ block, entry, place }, index) => ({
        block,
        birth: entry.birth,
        fromSegment: place.segment,
        fromSlot: place.slot,
        ...sumOf(bodies[index] as Uint8Array),
      })),
    }
    this.#log.writeBatch('moved', [
      {
        run,
        bodies,
        onPlaced: (places) => {
          for (const [index, { place }] of from.entries()) {
            const to = places[index] as Placed
            this.#log.live.delete(keyOf(place))
            this.#log.forwards.set(keyOf(place), to)
          }
        },
      },
    ])
  }

  /** Writes what waits as one batch. */
  append(): void {
    if (this.#queued.length > 0) this.#log.writeBatch('user', this.#queued.splice(0))
  }

  /** Everything so far counts as synced from the next batch on. */
  sync(): void {
    this.append()
    this.#log.synced = this.#log.nextSequence - 1n
  }

  /** Goes on in fresh segments, as a start does. */
  restart(): void {
    this.append()
    for (const segment of this.#log.segments) if (segment.state === 'open') segment.state = 'sealed'
    this.#log.starts++
    this.#writeSuperblock()
  }

  checkpoint(): void {
    this.sync()
    const nodes = [...this.#nodes.values()].map((node) => this.#freezeNode(node))
    const replaySequence = this.#log.nextSequence
    const freeze = (): Checkpoint => ({
      store: {
        nextLogical: this.#log.nextLogical,
        nextSequence: this.#log.nextSequence,
        replaySequence,
        nextNode: this.#nextNode,
      },
      segments: this.#log.segments.map((segment) => ({
        physical: segment.physical,
        logical: segment.logical,
        kind: segment.kind,
        state: segment.state,
        usedBytes: segment.used,
        firstSequence: segment.firstSequence,
        lastSequence: segment.lastSequence,
        live: this.#log.bitmapOf(segment),
        ranges: [],
      })),
      nodes,
      volumes: [...this.volumes.values()].map((volume) => ({
        id: volume.id,
        headNode: volume.head,
        sizeBytes: BigInt(this.nodeOf(volume).size * BLOCK_BYTES),
        mode: 'quorum',
        flags: 0,
        name: volume.name,
        appliedLsn: volume.lsn,
        appliedPublic: volume.publicId,
        appliedLink: volume.link,
        epochs: [{ epoch: this.epoch, firstLsn: volume.firstLsn }],
        view: volume.view,
        create: volume.create,
        attach: new Uint8Array(),
        sessions: [],
      })),
      forwards: this.#log.freezeForwards(),
      locals: [...this.#locals.values()].map(({ volume, epoch, item }) => ({ volume, epoch, ...item })),
    })
    const encode = (): Uint8Array => encodeCheckpoint(this.tamper.checkpoint?.(freeze()) ?? freeze())
    // The blob holds the segment table, and writing it takes segments: room is taken first, for both lengths are the same.
    for (;;) {
      const before = this.#log.segments.length
      this.#log.reserveIndex(Math.ceil(encode().length / PAGE_BYTES) + 8)
      if (this.#log.segments.length === before) break
    }
    const blob = encode()
    const { root, height } = this.#log.writeBlob(blob)
    this.#checkpoint = { root, bytes: BigInt(blob.length), physical: root.birth, height }
    this.#writeSuperblock()
  }

  nodeOf(volume: BuiltVolume): Node {
    return this.#nodes.get(volume.head) as Node
  }

  /** Versions that snapshots keep. */
  snapshots(): Node[] {
    return [...this.#nodes.values()].filter((node) => node.kind === 'named')
  }

  /** What a version holds: blocks that are not here read as zeros. */
  contents(node: Node): Map<number, Uint8Array> {
    const contents = new Map<number, Uint8Array>()
    for (const [block, entry] of node.map) {
      if (entry.segment !== 0 && block < node.size)
        contents.set(block, this.#log.read(this.#log.resolve(entry)))
    }
    return contents
  }

  /** Where a block of a volume's head lies. */
  placeOf(volume: BuiltVolume, block: number): { physical: number; offset: number } {
    const place = this.#log.resolve(this.nodeOf(volume).map.get(block) ?? ENTRY_EMPTY)
    return { physical: this.#log.at(place.segment).physical, offset: place.slot * SLOT_BYTES }
  }

  /** The segment written last of a kind. */
  lastSegment(kind: SegmentKind): Readonly<Segment> {
    return this.#log.segments.findLast((segment) => segment.kind === kind) as Segment
  }

  #common(volume: VolumeId): { volume: VolumeId; epoch: Epoch; commitLsn: Lsn; session: SessionId } {
    return { volume, epoch: this.epoch, commitLsn: 0 as Lsn, session: SessionId.zero }
  }

  #update(
    volume: BuiltVolume,
    what:
      | Pick<Extract<LogRecord, { kind: 'write' }>, 'kind' | 'extents' | 'sums'>
      | { kind: 'resize' | 'snapshot'; flags: 0; payload: Uint8Array },
    bodies: readonly Uint8Array[],
    apply: (lsn: Lsn, places: readonly Placed[]) => void,
  ): void {
    const lsn = (volume.lsn + 1) as Lsn
    const record = { ...what, requestSequence: 0n, parent: volume.token } as LogRecord
    volume.link = linkOf({ epoch: this.epoch, session: SessionId.zero }, lsn, record)
    volume.token = tokenOfLink(volume.stamp, volume.link)
    volume.publicId = publicOf(volume.token)
    volume.lsn = lsn
    this.#queueRun(volume, lsn, [record], bodies, volume.publicId, (places) => {
      apply(lsn, places)
    })
  }

  #queueRun(
    volume: BuiltVolume,
    firstLsn: Lsn,
    records: readonly LogRecord[],
    bodies: readonly Uint8Array[],
    lastPublic: VersionId,
    onPlaced: OnPlaced,
  ): void {
    const run: Run = { type: 'records', ...this.#common(volume.id), firstLsn, lastPublic, records }
    this.#queued.push({ run, bodies, onPlaced })
  }

  #replace(volume: BuiltVolume, block: number, entry: Entry): void {
    const head = this.nodeOf(volume)
    const old = head.map.get(block)
    const limit = this.#nodes.get(head.parent)?.lsn ?? 0
    if (old !== undefined && old.segment !== 0 && old.birth > limit)
      this.#log.live.delete(keyOf(this.#log.resolve(old)))
    head.map.set(block, entry)
  }

  #addNode(
    kind: NodeKind,
    volume: VolumeId,
    name: string,
    lsn: Lsn,
    publicId: VersionId,
    size: number,
    map: Map<number, Entry>,
    parent: bigint,
  ): Node {
    const node = { id: this.#nextNode++, parent, kind, volume, name, map, lsn, publicId, size }
    this.#nodes.set(node.id, node)
    return node
  }

  /** A node with the head's contents, between the head and its parent. */
  #split(volume: BuiltVolume, kind: NodeKind, name: string): Node {
    const head = this.nodeOf(volume)
    const { lsn, publicId } = volume
    const node = this.#addNode(
      kind,
      volume.id,
      name,
      lsn,
      publicId,
      head.size,
      new Map(head.map),
      head.parent,
    )
    head.parent = node.id
    head.lsn = lsn
    return node
  }

  #freezeNode(node: Node): CheckpointNode {
    const height = Math.max(1, ...[...node.map.keys(), node.size - 1].map((block) => heightFor(block + 1)))
    const parent = this.#nodes.get(node.parent)
    const dead = [...(parent?.map ?? [])].flatMap(([block, entry]) =>
      entry.segment !== 0 && node.map.get(block) !== entry ? [entry] : [],
    )
    const deadTrees: { entry: Entry; level: number }[] = []
    while (dead.length >= PAGE_ENTRIES) {
      deadTrees.push({ entry: this.#log.writePage(dead.splice(0, PAGE_ENTRIES)), level: 0 })
    }
    return {
      id: node.id,
      parent: node.parent,
      lsn: node.lsn,
      kind: node.kind,
      height,
      root: this.#log.writeTree(node.map, height - 1, 0),
      volume: node.volume,
      publicId: node.publicId,
      sizeBytes: BigInt(node.size * BLOCK_BYTES),
      name: node.name,
      deadTrees,
      deadTail: dead,
    }
  }

  #writeSuperblock(): void {
    this.#superblockSequence++
    const { root, bytes, physical, height } = this.#checkpoint
    this.medium.writeSuperblock(
      this.#superblockSequence % 2n === 0n ? 1 : 0,
      encodeSuperblock({
        segmentLog2: this.segmentLog2,
        store: this.store,
        host: this.host,
        generation: 1n,
        sequence: this.#superblockSequence,
        segmentLimit: 4096,
        checkpoint: root,
        checkpointBytes: bytes,
        checkpointPhysical: physical,
        checkpointHeight: height,
        starts: this.#log.starts,
      }),
    )
  }
}

function sumOf(block: Uint8Array): BlockSum {
  return { crc: crc32c(block), digest: blockDigest(block) }
}

function heightFor(blocks: number): number {
  let height = 1
  while (PAGE_ENTRIES ** height < blocks) height++
  return height
}
