/** The checkpoint's sections <-> bytes (docs/disk-format.md, Checkpoint). What they mean is in docs/core.md. */
import assert from 'node:assert'
import {
  CheckpointCorruptError,
  type Epoch,
  type Lsn,
  SessionId,
  VersionId,
  VolumeId,
} from '@cloudfs/interface'
import { ByteReader } from './byte-reader.js'
import { ByteWriter, textBytes } from './byte-writer.js'
import { LINK_BYTES_MIN, placeOfLink } from './chain.js'
import { ENTRY_BYTES, type Entry, readValidEntry, writeEntry } from './entry.js'
import { LOCAL_KINDS, type LocalItem, readUnpaddedLocalItem } from './local-item.js'
import { isVolumeSize, MODES, type Mode } from './payload.js'
import { SEGMENT_KINDS, type SegmentKind } from './segment-header.js'

/** A version is a head or a snapshot, named or hidden; remains are what is left to free of a deleted one. */
export type NodeKind = 'head' | 'named' | 'hidden' | 'remains'
/** By the bit that says so on disk. */
export const NODE_KINDS = ['head', 'named', 'hidden', 'remains'] as const

export const VOLUME_DELETED = 1
/** Levels 0 to 6: 256^7 blocks, more than the largest volume has. */
export const MAP_HEIGHT_MAX = 7
/** A bitmap of the largest segment. */
export const BITMAP_BYTES_MAX = 2048
export const DEAD_TAIL_MAX = 255

export interface CheckpointStore {
  readonly nextLogical: number
  readonly nextSequence: bigint
  /** Replay batches from here. */
  readonly replaySequence: bigint
  readonly nextNode: bigint
}

/** What a segment holds of a volume's history. */
export interface CheckpointRange {
  readonly volume: VolumeId
  readonly firstLsn: Lsn
  readonly lastLsn: Lsn
}

export type SegmentState = 'open' | 'sealed' | 'free'
export const SEGMENT_STATES = ['', 'open', 'sealed', 'free'] as const

export interface CheckpointSegment {
  readonly physical: number
  readonly logical: number
  /** 'unused': free, and never opened. */
  readonly kind: SegmentKind | 'unused'
  readonly state: SegmentState
  readonly usedBytes: number
  readonly firstSequence: bigint
  readonly lastSequence: bigint
  /** Bit i: the block whose slot / 4 is i is live. Does not end in a zero byte. */
  readonly live: Uint8Array
  readonly ranges: readonly CheckpointRange[]
}

/** A subtree that a version dropped whole; level 0 is a leaf or a dead-list page. */
export interface CheckpointTree {
  readonly entry: Entry
  readonly level: number
}

export interface CheckpointNode {
  readonly id: bigint
  /** 0 = none. */
  readonly parent: bigint
  readonly lsn: Lsn
  readonly kind: NodeKind
  readonly height: number
  readonly root: Entry
  readonly volume: VolumeId
  readonly publicId: VersionId
  readonly sizeBytes: bigint
  readonly name: string
  readonly deadTrees: readonly CheckpointTree[]
  readonly deadTail: readonly Entry[]
}

export interface CheckpointVolume {
  readonly id: VolumeId
  readonly headNode: bigint
  readonly sizeBytes: bigint
  readonly mode: Mode
  /** `VOLUME_DELETED` */
  readonly flags: number
  readonly name: string
  readonly appliedLsn: Lsn
  readonly appliedPublic: VersionId
  /** Of the applied record (`linkOf`): with the view's stamp it gives the token. */
  readonly appliedLink: Uint8Array
  readonly epochs: readonly { readonly epoch: Epoch; readonly firstLsn: Lsn }[]
  /** Payloads as stored. */
  readonly view: Uint8Array
  readonly create: Uint8Array
  /** Of the newest attach record; empty without one. */
  readonly attach: Uint8Array
  readonly sessions: readonly { readonly session: SessionId; readonly lastSequence: bigint }[]
}

export interface Forward {
  readonly fromSlot: number
  readonly toSlot: number
  readonly toSegment: number
}

/** Where the blocks of a cleaned segment went. */
export interface CheckpointForwards {
  readonly logical: number
  /** In ascending order of `fromSlot`. */
  readonly entries: readonly Forward[]
}

export interface CheckpointLocal extends LocalItem {
  readonly volume: VolumeId
  readonly epoch: Epoch
}

export interface Checkpoint {
  readonly store: CheckpointStore
  readonly segments: readonly CheckpointSegment[]
  readonly nodes: readonly CheckpointNode[]
  readonly volumes: readonly CheckpointVolume[]
  readonly forwards: readonly CheckpointForwards[]
  readonly locals: readonly CheckpointLocal[]
}

/** One section: how it is written and read. Its type is its place in the list, from 1. */
interface Section<Key extends keyof Checkpoint> {
  readonly key: Key
  readonly write: (writer: ByteWriter, value: Checkpoint[Key]) => void
  readonly read: (reader: ByteReader) => Checkpoint[Key]
}

function section<Key extends keyof Checkpoint>(
  key: Key,
  write: Section<Key>['write'],
  read: Section<Key>['read'],
): Section<keyof Checkpoint> {
  return { key, write, read } as unknown as Section<keyof Checkpoint>
}

const sections = [
  section('store', writeStore, readStore),
  section('segments', listWriter(writeSegment), listReader(readSegment, 36)),
  section('nodes', listWriter(writeNode), listReader(readNode, 98)),
  section('volumes', listWriter(writeVolume), listReader(readVolume, 101)),
  section('forwards', listWriter(writeForwards), listReader(readForwards, 8)),
  section('locals', listWriter(writeLocal), listReader(readLocal, 56)),
]

/** The blob: all six sections in the order of their types. */
export function encodeCheckpoint(checkpoint: Checkpoint): Uint8Array {
  const writer = new ByteWriter()
  sections.forEach(({ key, write }, index) => {
    const contents = new ByteWriter()
    write(contents, checkpoint[key])
    writer
      .u32(index + 1)
      .zeros(4)
      .u64(contents.length)
      .bytes(contents.finish())
  })
  return writer.finish()
}

/**
 * @param bytes - the blob without the padding of its last page
 * @throws {CheckpointCorruptError} the bytes break the tables
 */
export function decodeCheckpoint(bytes: Uint8Array): Checkpoint {
  const reader = new ByteReader(bytes, 'checkpoint', CheckpointCorruptError)
  const checkpoint: Partial<Record<keyof Checkpoint, unknown>> = {}
  sections.forEach(({ key, read }, index) => {
    if (reader.u32('type') !== index + 1) reader.refuse('type', `is not that of ${key}`)
    reader.zeros('reserved', 4)
    const length = Number(reader.u64('length', BigInt(bytes.length)))
    const contents = new ByteReader(reader.view(key, length), `checkpoint ${key}`, CheckpointCorruptError)
    checkpoint[key] = read(contents)
    contents.end()
  })
  reader.end()
  return checkpoint as Checkpoint
}

function listWriter<T>(
  write: (writer: ByteWriter, item: T) => void,
): (writer: ByteWriter, items: readonly T[]) => void {
  return (writer, items) => {
    writer.u32(items.length)
    for (const item of items) write(writer, item)
  }
}

function listReader<T>(read: (reader: ByteReader) => T, itemBytesMin: number): (reader: ByteReader) => T[] {
  return (reader) => readList(reader, reader.u32('count'), itemBytesMin, read)
}

function readList<T>(
  reader: ByteReader,
  count: number,
  itemBytesMin: number,
  read: (reader: ByteReader) => T,
): T[] {
  reader.expect('count', count, itemBytesMin)
  return Array.from({ length: count }, () => read(reader))
}

function writeStore(writer: ByteWriter, store: CheckpointStore): void {
  writer.u32(store.nextLogical).zeros(4).u64(store.nextSequence).u64(store.replaySequence).u64(store.nextNode)
}

function readStore(reader: ByteReader): CheckpointStore {
  const nextLogical = reader.u32('nextLogical')
  reader.zeros('reserved', 4)
  const nextSequence = reader.u64('nextSequence')
  const replaySequence = reader.u64('replaySequence')
  return { nextLogical, nextSequence, replaySequence, nextNode: reader.u64('nextNode') }
}

function writeSegment(writer: ByteWriter, segment: CheckpointSegment): void {
  assert(segment.live.length <= BITMAP_BYTES_MAX && segment.live.at(-1) !== 0, 'a bitmap is trimmed')
  writer.u32(segment.physical).u32(segment.logical)
  writer
    .u8(segment.kind === 'unused' ? 0 : SEGMENT_KINDS.indexOf(segment.kind))
    .oneOf(SEGMENT_STATES, segment.state)
  writer.zeros(2).u32(segment.usedBytes).u64(segment.firstSequence).u64(segment.lastSequence)
  writer.u16(segment.live.length).bytes(segment.live).u16(segment.ranges.length)
  for (const range of segment.ranges) writer.id(VolumeId, range.volume).u64(range.firstLsn).u64(range.lastLsn)
}

function readSegment(reader: ByteReader): CheckpointSegment {
  const physical = reader.u32('physical')
  const logical = reader.u32('logical')
  const kind = SEGMENT_KINDS[reader.u8('kind', SEGMENT_KINDS.length - 1)] || 'unused'
  const state = reader.oneOf('state', SEGMENT_STATES)
  if (kind === 'unused' && state !== 'free') reader.refuse('kind', `is 0 in a segment that is ${state}`)
  reader.zeros('reserved', 2)
  const usedBytes = reader.u32('usedBytes')
  const firstSequence = reader.u64('firstSequence')
  const lastSequence = reader.u64('lastSequence')
  const live = reader.bytes('bitmap', reader.u16('mapBytes', BITMAP_BYTES_MAX))
  if (live.at(-1) === 0) reader.refuse('bitmap', 'ends in a zero byte')
  const ranges = readList(reader, reader.u16('range count'), 36, () => ({
    volume: reader.id('range.volume', VolumeId),
    firstLsn: reader.lsn('range.firstLsn'),
    lastLsn: reader.lsn('range.lastLsn'),
  }))
  return { physical, logical, kind, state, usedBytes, firstSequence, lastSequence, live, ranges }
}

function writeNode(writer: ByteWriter, node: CheckpointNode): void {
  assert(node.deadTail.length <= DEAD_TAIL_MAX, 'a full dead-list page is stored')
  writer
    .u64(node.id)
    .u64(node.parent)
    .u64(node.lsn)
    .u8(1 << NODE_KINDS.indexOf(node.kind))
    .u8(node.height)
    .u8(textBytes(node.name))
    .zeros(1)
  writeEntry(writer, node.root)
  writer.id(VolumeId, node.volume).id(VersionId, node.publicId).u64(node.sizeBytes).text(node.name)
  writer.u32(node.deadTrees.length)
  for (const { entry, level } of node.deadTrees) {
    writeEntry(writer, entry)
    writer.u8(level).zeros(3)
  }
  writer.u16(node.deadTail.length)
  for (const entry of node.deadTail) writeEntry(writer, entry)
}

function readNode(reader: ByteReader): CheckpointNode {
  const id = reader.u64('id')
  const parent = reader.u64('parent')
  const lsn = reader.lsn('lsn')
  const flags = reader.u8('flags')
  const kind = NODE_KINDS.find((_, bit) => flags === 1 << bit) ?? reader.refuse('flags', `is ${flags}`)
  const height = reader.u8('height', MAP_HEIGHT_MAX)
  const nameBytes = reader.u8('nameBytes')
  reader.zeros('reserved', 1)
  const root = readValidEntry(reader, 'root')
  const volume = reader.id('volume', VolumeId)
  const publicId = reader.id('publicId', VersionId)
  const sizeBytes = readSize(reader)
  const name = reader.text('name', nameBytes)
  const deadTrees = readList(reader, reader.u32('tree count'), ENTRY_BYTES + 4, readTree)
  const tailCount = reader.u16('tail count', DEAD_TAIL_MAX)
  const deadTail = readList(reader, tailCount, ENTRY_BYTES, () => readValidEntry(reader, 'tail'))
  return { id, parent, lsn, kind, height, root, volume, publicId, sizeBytes, name, deadTrees, deadTail }
}

function readTree(reader: ByteReader): CheckpointTree {
  const entry = readValidEntry(reader, 'tree')
  const level = reader.u8('level', MAP_HEIGHT_MAX - 1)
  reader.zeros('reserved', 3)
  return { entry, level }
}

function writeVolume(writer: ByteWriter, volume: CheckpointVolume): void {
  writer
    .id(VolumeId, volume.id)
    .u64(volume.headNode)
    .u64(volume.sizeBytes)
    .oneOf(MODES, volume.mode)
    .u8(volume.flags)
  writer
    .u8(textBytes(volume.name))
    .zeros(1)
    .text(volume.name)
    .u64(volume.appliedLsn)
    .id(VersionId, volume.appliedPublic)
  writer.u32(volume.appliedLink.length).bytes(volume.appliedLink)
  writer.u16(volume.epochs.length)
  for (const { epoch, firstLsn } of volume.epochs) writer.epoch(epoch).u64(firstLsn)
  for (const payload of [volume.view, volume.create, volume.attach]) writer.u32(payload.length).bytes(payload)
  writer.u16(volume.sessions.length)
  for (const { session, lastSequence } of volume.sessions) writer.id(SessionId, session).u64(lastSequence)
}

function readVolume(reader: ByteReader): CheckpointVolume {
  const id = reader.id('id', VolumeId)
  const headNode = reader.u64('headNode')
  const sizeBytes = readSize(reader)
  const mode = reader.oneOf('mode', MODES)
  const flags = reader.u8('flags', VOLUME_DELETED)
  const nameBytes = reader.u8('nameBytes')
  reader.zeros('reserved', 1)
  const name = reader.text('name', nameBytes)
  const appliedLsn = reader.lsn('appliedLsn')
  const appliedPublic = reader.id('appliedPublic', VersionId)
  const appliedLink = reader.bytes('appliedLink', reader.u32('link length'))
  if (appliedLink.length < LINK_BYTES_MIN) reader.refuse('appliedLink', 'is too short')
  if (placeOfLink(appliedLink).lsn !== BigInt(appliedLsn))
    reader.refuse('appliedLink', 'is of another record')
  const epochs = readList(reader, reader.u16('epoch count'), 36, () => ({
    epoch: reader.epoch('epoch'),
    firstLsn: reader.lsn('firstLsn'),
  }))
  const view = reader.bytes('view', reader.u32('view length'))
  const create = reader.bytes('create', reader.u32('create length'))
  const attach = reader.bytes('attach', reader.u32('attach length'))
  const sessions = readList(reader, reader.u16('session count'), 24, () => ({
    session: reader.id('session', SessionId),
    lastSequence: reader.u64('lastSequence'),
  }))
  return {
    id,
    headNode,
    sizeBytes,
    mode,
    flags,
    name,
    appliedLsn,
    appliedPublic,
    appliedLink,
    epochs,
    view,
    create,
    attach,
    sessions,
  }
}

function writeForwards(writer: ByteWriter, forwards: CheckpointForwards): void {
  writer.u32(forwards.logical).u32(forwards.entries.length)
  for (const { fromSlot, toSlot, toSegment } of forwards.entries)
    writer.u16(fromSlot).u16(toSlot).u32(toSegment)
}

function readForwards(reader: ByteReader): CheckpointForwards {
  const logical = reader.u32('logical')
  let before = -1
  const entries = readList(reader, reader.u32('count'), 8, () => {
    const fromSlot = reader.u16('fromSlot')
    if (fromSlot <= before) reader.refuse('fromSlot', 'does not ascend')
    before = fromSlot
    return { fromSlot, toSlot: reader.u16('toSlot'), toSegment: reader.u32('toSegment') }
  })
  return { logical, entries }
}

function writeLocal(writer: ByteWriter, local: CheckpointLocal): void {
  writer.id(VolumeId, local.volume).epoch(local.epoch).u16(LOCAL_KINDS.indexOf(local.kind)).zeros(2)
  writer.u32(local.bytes.length).bytes(local.bytes)
}

function readLocal(reader: ByteReader): CheckpointLocal {
  const volume = reader.id('volume', VolumeId)
  const epoch = reader.epoch('epoch')
  return { volume, epoch, ...readUnpaddedLocalItem(reader, CheckpointCorruptError) }
}

function readSize(reader: ByteReader): bigint {
  const sizeBytes = reader.u64('sizeBytes')
  if (!isVolumeSize(sizeBytes)) reader.refuse('sizeBytes', `is ${String(sizeBytes)}`)
  return sizeBytes
}
