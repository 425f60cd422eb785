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
  checkpointTreeHeight,
  crc32c,
  encodeBatch,
  encodeCheckpoint,
  encodeCreate,
  encodePage,
  encodeResize,
  encodeSegmentHeader,
  encodeSnapshotName,
  encodeSuperblock,
  encodeView,
  type Entry,
  ENTRY_EMPTY,
  type Extent,
  greatestBirth,
  type LocalItem,
  type LogRecord,
  type NodeKind,
  padPayload,
  publicOf,
  type Run,
  SEGMENT_HEADER_BYTES,
  type SegmentKind,
  type SegmentState,
  stampHashOf,
  tokenOf,
} from '../index.js'
import { MemoryMedium } from './memory-medium.js'

interface Segment {
  readonly physical: number
  readonly logical: number
  readonly kind: SegmentKind
  readonly firstSequence: bigint
  state: SegmentState
  used: number
  lastSequence: bigint
}

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
  token: Token
}

interface Placed {
  readonly segment: number
  readonly slot: number
}

/** Where the runs of a batch put their blocks; told when the batch is written. */
type OnPlaced = (places: readonly Placed[]) => void

interface Queued {
  readonly run: Run
  readonly bodies: readonly Uint8Array[]
  readonly onPlaced: OnPlaced
}

const ALIGN_LOG2 = 12

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
  readonly #segments: Segment[] = []
  readonly #live = new Set<string>()
  readonly #forwards = new Map<string, Placed>()
  readonly #locals = new Map<string, { volume: VolumeId; epoch: Epoch; item: LocalItem }>()
  readonly #queued: Queued[] = []
  #drawn = 0
  #nextLogical = 1
  #nextSequence = 1n
  #synced = 0n
  #nextNode = 1n
  #starts = 1n
  #superblockSequence = 0n
  #checkpoint = { root: ENTRY_EMPTY, bytes: 0n, physical: 0, height: 0 }

  constructor({ seed = 'store', segmentLog2 = 18 } = {}) {
    this.#seed = seed
    this.segmentLog2 = segmentLog2
    this.store = StoreId.fromBytes(this.draw(20))
    this.host = HostId.fromBytes(this.draw(20))
    this.epoch = { counter: 1, host: this.host }
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
    const token = tokenOf(stamp, { epoch: this.epoch, session: SessionId.zero }, lsn, record)
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
      return { block, entry, place: this.#resolve(entry) }
    })
    const bodies = from.map(({ place }) => this.#read(place))
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
    this.#writeBatch('moved', [
      {
        run,
        bodies,
        onPlaced: (places) => {
          for (const [index, { place }] of from.entries()) {
            const to = places[index] as Placed
            this.#live.delete(keyOf(place))
            this.#forwards.set(keyOf(place), to)
          }
        },
      },
    ])
  }

  /** Writes what waits as one batch. */
  append(): void {
    if (this.#queued.length > 0) this.#writeBatch('user', this.#queued.splice(0))
  }

  /** Everything so far counts as synced from the next batch on. */
  sync(): void {
    this.append()
    this.#synced = this.#nextSequence - 1n
  }

  /** Goes on in fresh segments, as a start does. */
  restart(): void {
    this.append()
    for (const segment of this.#segments) if (segment.state === 'open') segment.state = 'sealed'
    this.#starts++
    this.#writeSuperblock()
  }

  checkpoint(): void {
    this.sync()
    const nodes = [...this.#nodes.values()].map((node) => this.#freezeNode(node))
    const replaySequence = this.#nextSequence
    const freeze = (): Checkpoint => ({
      store: {
        nextLogical: this.#nextLogical,
        nextSequence: this.#nextSequence,
        replaySequence,
        nextNode: this.#nextNode,
      },
      segments: this.#segments.map((segment) => ({
        physical: segment.physical,
        logical: segment.logical,
        kind: segment.kind,
        state: segment.state,
        usedBytes: segment.used,
        firstSequence: segment.firstSequence,
        lastSequence: segment.lastSequence,
        live: this.#bitmapOf(segment),
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
        appliedToken: volume.token,
        epochs: [{ epoch: this.epoch, firstLsn: volume.firstLsn }],
        view: volume.view,
        create: volume.create,
        sessions: [],
      })),
      forwards: this.#freezeForwards(),
      locals: [...this.#locals.values()].map(({ volume, epoch, item }) => ({ volume, epoch, ...item })),
    })
    const encode = (): Uint8Array => encodeCheckpoint(this.tamper.checkpoint?.(freeze()) ?? freeze())
    // The blob holds the segment table, and writing it takes segments: room is taken first, for both lengths are the same.
    for (;;) {
      const before = this.#segments.length
      this.#reserveIndex(Math.ceil(encode().length / PAGE_BYTES) + 8)
      if (this.#segments.length === before) break
    }
    this.#writeBlob(encode())
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
      if (entry.segment !== 0 && block < node.size) contents.set(block, this.#read(this.#resolve(entry)))
    }
    return contents
  }

  /** Where a block of a volume's head lies. */
  placeOf(volume: BuiltVolume, block: number): { physical: number; offset: number } {
    const place = this.#resolve(this.nodeOf(volume).map.get(block) ?? ENTRY_EMPTY)
    return { physical: this.#at(place.segment).physical, offset: place.slot * SLOT_BYTES }
  }

  /** The segment written last of a kind. */
  lastSegment(kind: SegmentKind): Readonly<Segment> {
    return this.#segments.findLast((segment) => segment.kind === kind) as Segment
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
    volume.token = tokenOf(volume.stamp, { epoch: this.epoch, session: SessionId.zero }, lsn, record)
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
      this.#live.delete(keyOf(this.#resolve(old)))
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

  #writeBatch(kind: 'user' | 'moved', queued: readonly Queued[]): void {
    const make = (segment: Segment): ReturnType<typeof encodeBatch> =>
      encodeBatch({
        segment: segment.logical,
        offset: segment.used,
        sequence: this.#nextSequence,
        syncedSequence: this.#synced,
        alignLog2: ALIGN_LOG2,
        kind,
        start: this.#starts,
        runs: queued.map(({ run }) => this.tamper.run?.(run) ?? run),
      })
    let segment =
      this.#segments.find((each) => each.kind === kind && each.state === 'open') ?? this.#open(kind)
    if (segment.used + make(segment).layout.batchBytes > this.segmentBytes) {
      segment.state = 'sealed'
      segment = this.#open(kind)
    }
    const { header, layout } = make(segment)
    const bodies = queued.flatMap((each) => each.bodies)
    this.#write(segment, segment.used, Buffer.concat([header, ...bodies]))
    for (const [index, { bodies: own, onPlaced }] of queued.entries()) {
      const start = segment.used + (layout.placed[index]?.bodyOffset ?? 0)
      const places = own.map((_, i) => ({
        segment: segment.logical,
        slot: (start + i * BLOCK_BYTES) / SLOT_BYTES,
      }))
      for (const place of places) this.#live.add(keyOf(place))
      onPlaced(places)
    }
    segment.used += layout.batchBytes
    segment.lastSequence = this.#nextSequence++
  }

  #open(kind: SegmentKind): Segment {
    const segment: Segment = {
      physical: this.#segments.length,
      logical: this.#nextLogical++,
      kind,
      firstSequence: kind === 'index' ? 0n : this.#nextSequence,
      state: 'open',
      used: SEGMENT_HEADER_BYTES,
      lastSequence: 0n,
    }
    this.#segments.push(segment)
    const { logical, physical, firstSequence } = segment
    const header = {
      logical,
      store: this.store,
      physical,
      generation: 1n,
      firstSequence,
      kind,
      start: this.#starts,
    }
    this.#write(segment, 0, encodeSegmentHeader(header))
    return segment
  }

  #write(segment: Segment, offset: number, bytes: Uint8Array): void {
    this.medium.write(segment.physical, offset, bytes, this.segmentBytes)
  }

  #read(place: Placed): Uint8Array {
    const offset = place.slot * SLOT_BYTES
    const bytes = this.medium.segments.get(this.#at(place.segment).physical)
    return bytes?.slice(offset, offset + BLOCK_BYTES) ?? new Uint8Array()
  }

  #at(logical: number): Segment {
    const segment = this.#segments.find((each) => each.logical === logical)
    assert(segment !== undefined, 'a segment named is there')
    return segment
  }

  #resolve(entry: Placed): Placed {
    let place: Placed = entry
    for (
      let next = this.#forwards.get(keyOf(place));
      next !== undefined;
      next = this.#forwards.get(keyOf(place))
    ) {
      place = next
    }
    return place
  }

  #bitmapOf(segment: Segment): Uint8Array {
    const bitmap = new Uint8Array(this.segmentBytes / BLOCK_BYTES / 8)
    let length = 0
    if (segment.kind !== 'index') {
      for (const key of this.#live) {
        const [logical, slot] = key.split('.').map(Number)
        if (logical !== segment.logical || slot === undefined) continue
        const bit = slot >> 2
        bitmap[bit >> 3] = (bitmap[bit >> 3] ?? 0) | (1 << (bit & 7))
        length = Math.max(length, (bit >> 3) + 1)
      }
    }
    return bitmap.slice(0, length)
  }

  #freezeForwards(): {
    logical: number
    entries: { fromSlot: number; toSlot: number; toSegment: number }[]
  }[] {
    const bySegment = new Map<number, { fromSlot: number; toSlot: number; toSegment: number }[]>()
    for (const [key, to] of this.#forwards) {
      const [logical = 0, fromSlot = 0] = key.split('.').map(Number)
      const entries = bySegment.get(logical) ?? []
      entries.push({ fromSlot, toSlot: to.slot, toSegment: to.segment })
      bySegment.set(logical, entries)
    }
    return [...bySegment].map(([logical, entries]) => ({
      logical,
      entries: entries.toSorted((a, b) => a.fromSlot - b.fromSlot),
    }))
  }

  #freezeNode(node: Node): CheckpointNode {
    const height = Math.max(1, ...[...node.map.keys(), node.size - 1].map((block) => heightFor(block + 1)))
    const parent = this.#nodes.get(node.parent)
    const dead = [...(parent?.map ?? [])].flatMap(([block, entry]) =>
      entry.segment !== 0 && node.map.get(block) !== entry ? [entry] : [],
    )
    const deadTrees: { entry: Entry; level: number }[] = []
    while (dead.length >= PAGE_ENTRIES) {
      deadTrees.push({ entry: this.#writePage(dead.splice(0, PAGE_ENTRIES)), level: 0 })
    }
    return {
      id: node.id,
      parent: node.parent,
      lsn: node.lsn,
      kind: node.kind,
      height,
      root: this.#writeTree(node.map, height - 1, 0),
      volume: node.volume,
      publicId: node.publicId,
      sizeBytes: BigInt(node.size * BLOCK_BYTES),
      name: node.name,
      deadTrees,
      deadTail: dead,
    }
  }

  #writeTree(map: ReadonlyMap<number, Entry>, level: number, base: number): Entry {
    const span = PAGE_ENTRIES ** level
    const isEmpty = [...map.keys()].every((block) => block < base || block >= base + span * PAGE_ENTRIES)
    if (isEmpty) return ENTRY_EMPTY
    const entries = Array.from({ length: PAGE_ENTRIES }, (_, index) => {
      const from = base + index * span
      return level === 0 ? (map.get(from) ?? ENTRY_EMPTY) : this.#writeTree(map, level - 1, from)
    })
    return this.#writePage(entries)
  }

  #writePage(entries: readonly Entry[], isBlob = false): Entry {
    const bytes = encodePage(entries)
    const place = this.#writeIndex(bytes)
    const birth = isBlob ? (this.#at(place.segment).physical as Lsn) : greatestBirth(entries)
    return { ...place, birth, crc: crc32c(bytes) }
  }

  #writeBlob(blob: Uint8Array): void {
    const entryOf = (bytes: Uint8Array): Entry => {
      const place = this.#writeIndex(bytes)
      return { ...place, birth: this.#at(place.segment).physical as Lsn, crc: crc32c(bytes) }
    }
    let level: Entry[] = []
    for (let offset = 0; offset < blob.length; offset += PAGE_BYTES) {
      const page = new Uint8Array(PAGE_BYTES)
      page.set(blob.subarray(offset, offset + PAGE_BYTES))
      level.push(entryOf(page))
    }
    const height = checkpointTreeHeight(BigInt(blob.length))
    for (let above = 0; above < height; above++) {
      const pages: Entry[] = []
      for (let index = 0; index < level.length; index += PAGE_ENTRIES) {
        const entries = level.slice(index, index + PAGE_ENTRIES)
        while (entries.length < PAGE_ENTRIES) entries.push(ENTRY_EMPTY)
        pages.push(this.#writePage(entries, true))
      }
      level = pages
    }
    const root = level[0] as Entry
    this.#checkpoint = { root, bytes: BigInt(blob.length), physical: root.birth, height }
  }

  #reserveIndex(pages: number): void {
    const open = this.#segments.find((each) => each.kind === 'index' && each.state === 'open')
    if (open !== undefined && open.used + pages * PAGE_BYTES <= this.segmentBytes) return
    if (open !== undefined) open.state = 'sealed'
    this.#open('index')
  }

  #writeIndex(page: Uint8Array): Placed {
    this.#reserveIndex(1)
    const segment = this.#segments.find((each) => each.kind === 'index' && each.state === 'open') as Segment
    const slot = segment.used / SLOT_BYTES
    this.#write(segment, segment.used, page)
    segment.used += PAGE_BYTES
    return { segment: segment.logical, slot }
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
        starts: this.#starts,
      }),
    )
  }
}

function sumOf(block: Uint8Array): BlockSum {
  return { crc: crc32c(block), digest: blockDigest(block) }
}

function keyOf(place: Placed): string {
  return `${String(place.segment)}.${String(place.slot)}`
}

function heightFor(blocks: number): number {
  let height = 1
  while (PAGE_ENTRIES ** height < blocks) height++
  return height
}
