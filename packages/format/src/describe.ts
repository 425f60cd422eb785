/**
 * What a decoder makes of bytes, as canonical text: for golden files, and to hold this codec and the engine's against each
 * other. The form is fixed in native/src/core/format/describe.h; two codecs agree on bytes if and only if their texts are equal.
 */
import assert from 'node:assert'
import { bytesToHex, isCloudfsError, Stamp, VersionId, VolumeId } from '@cloudfs/interface'
import { BATCH_KINDS, decodeBatch } from './batch.js'
import {
  type Checkpoint,
  type CheckpointNode,
  type CheckpointSegment,
  type CheckpointVolume,
  decodeCheckpoint,
  NODE_KINDS,
  SEGMENT_STATES,
} from './checkpoint.js'
import { decodeEntry, type Entry } from './entry.js'
import { LOCAL_KINDS } from './local-item.js'
import {
  type CreatePayload,
  decodeCreate,
  decodeMode,
  decodeResize,
  decodeSnapshotName,
  decodeView,
  MEMBER_ROLES,
  MODES,
  type ViewPayload,
} from './payload.js'
import { EXTENT_KINDS, type LogRecord, RECORD_KINDS } from './record.js'
import { decodeRun, type Run, RUN_TYPES } from './run.js'
import { decodeSegmentHeader, SEGMENT_KINDS } from './segment-header.js'
import { decodeSuperblock } from './superblock.js'

/** A structure of docs/disk-format.md that can be described. */
export type FormatKind = keyof typeof describers

const describers = {
  entry: (bytes: Uint8Array) => entryOf(decodeEntry(bytes)),
  superblock: (bytes: Uint8Array) => {
    const { store, host, checkpoint, generation, sequence, checkpointBytes, starts, ...superblock } =
      decodeSuperblock(bytes)
    return {
      segmentLog2: superblock.segmentLog2,
      storeId: store,
      hostId: host,
      generation: String(generation),
      sequence: String(sequence),
      segmentLimit: superblock.segmentLimit,
      checkpoint: entryOf(checkpoint),
      checkpointBytes: String(checkpointBytes),
      checkpointPhysical: superblock.checkpointPhysical,
      checkpointHeight: superblock.checkpointHeight,
      starts: String(starts),
    }
  },
  'segment-header': (bytes: Uint8Array) => {
    const header = decodeSegmentHeader(bytes)
    return {
      logical: header.logical,
      storeId: header.store,
      physical: header.physical,
      generation: String(header.generation),
      firstSequence: String(header.firstSequence),
      kind: numberOf(SEGMENT_KINDS, header.kind),
      start: String(header.start),
    }
  },
  batch: (bytes: Uint8Array) => {
    const batch = decodeBatch(bytes)
    return {
      segment: batch.segment,
      offset: batch.offset,
      sequence: String(batch.sequence),
      syncedSequence: String(batch.syncedSequence),
      alignLog2: batch.alignLog2,
      kind: numberOf(BATCH_KINDS, batch.kind),
      seal: String(batch.seal),
      runs: batch.runs.map((run, index) => ({ ...batch.placed[index], run: runOf(run) })),
    }
  },
  run: (bytes: Uint8Array) => runOf(decodeRun(bytes)),
  create: (bytes: Uint8Array) => createOf(decodeCreate(bytes)),
  view: (bytes: Uint8Array) => viewOf(decodeView(bytes)),
  snapshot: (bytes: Uint8Array) => ({ name: decodeSnapshotName(bytes) }),
  resize: (bytes: Uint8Array) => ({ sizeBytes: String(decodeResize(bytes)) }),
  mode: (bytes: Uint8Array) => ({ mode: numberOf(MODES, decodeMode(bytes)) }),
  checkpoint: (bytes: Uint8Array) => checkpointOf(decodeCheckpoint(bytes)),
}

/** Names of all structures that can be described. */
export const FORMAT_KINDS = Object.keys(describers) as FormatKind[]

/** The canonical JSON of what `bytes` hold, or the code of the error alone: `ERR_…`. */
export function describe(kind: FormatKind, bytes: Uint8Array): string {
  try {
    return JSON.stringify(describers[kind](bytes))
  } catch (error) {
    if (isCloudfsError(error)) return error.code
    throw error
  }
}

function numberOf(names: readonly string[], name: string): number {
  const number = names.indexOf(name)
  assert(number > 0, `${name} is one of ${names.join(' ')}`)
  return number
}

function entryOf({ segment, slot, birth, crc }: Entry): object {
  return { segment, slot, birth: String(birth), crc }
}

function runOf(run: Run): object {
  const isRecords = run.type === 'records'
  const common = {
    type: numberOf(RUN_TYPES, run.type),
    volume: run.volume,
    epochHost: run.epoch.host,
    epochCounter: String(run.epoch.counter),
    firstLsn: isRecords ? String(run.firstLsn) : '0',
    commitLsn: String(run.commitLsn),
    session: run.session,
    lastPublic: isRecords ? run.lastPublic : VersionId.zero,
  }
  if (run.type === 'records') return { ...common, records: run.records.map(recordOf) }
  if (run.type === 'local') {
    const items = run.items.map(({ kind, bytes }) => ({
      kind: numberOf(LOCAL_KINDS, kind),
      bytes: bytesToHex(bytes),
    }))
    return { ...common, items }
  }
  const moved = run.blocks.map(({ block, birth, fromSegment, fromSlot, crc, digest }) => ({
    block: String(block),
    birth: String(birth),
    fromSegment,
    fromSlot,
    crc,
    digest: bytesToHex(digest),
  }))
  return { ...common, moved }
}

function recordOf(record: LogRecord): object {
  const common = {
    kind: numberOf(RECORD_KINDS, record.kind),
    flags: record.kind === 'write' ? 0 : record.flags,
    requestSequence: String(record.requestSequence),
    parent: record.parent,
  }
  if (record.kind !== 'write') return { ...common, payload: bytesToHex(record.payload) }
  return {
    ...common,
    extents: record.extents.map(({ block, kind, count }) => ({
      block: String(block),
      kind: numberOf(EXTENT_KINDS, kind),
      count,
    })),
    blocks: record.sums.map(({ crc, digest }) => ({ crc, digest: bytesToHex(digest) })),
  }
}

function createOf(create: CreatePayload): object {
  return {
    sizeBytes: String(create.sizeBytes),
    mode: numberOf(MODES, create.mode),
    hasParent: create.parent === undefined ? 0 : 1,
    nonce: bytesToHex(create.nonce),
    parentVolume: create.parent?.volume ?? VolumeId.zero,
    parentLsn: String(create.parent?.lsn ?? 0),
    parentPublic: create.parent?.publicId ?? VersionId.zero,
    name: create.name,
    view: viewOf(create.view),
  }
}

function viewOf(view: ViewPayload): object {
  return {
    stampHash: view.stampHash,
    primary: view.primary,
    leaseMs: view.leaseMs,
    oldStampKnown: view.oldStamp === undefined ? 0 : 1,
    oldStamp: view.oldStamp ?? Stamp.zero,
    members: view.members.map(({ host, store, role, slice }) => ({
      host,
      store,
      role: numberOf(MEMBER_ROLES, role),
      slice: bytesToHex(slice),
    })),
  }
}

function checkpointOf({ store, segments, nodes, volumes, forwards, locals }: Checkpoint): object {
  return {
    store: {
      nextLogical: store.nextLogical,
      nextSequence: String(store.nextSequence),
      replaySequence: String(store.replaySequence),
      nextNode: String(store.nextNode),
    },
    segments: segments.map(segmentOf),
    nodes: nodes.map(nodeOf),
    volumes: volumes.map(volumeOf),
    forwards: forwards.map(({ logical, entries }) => ({ logical, entries })),
    local: locals.map(({ volume, epoch, kind, bytes }) => ({
      volume,
      epochCounter: String(epoch.counter),
      epochHost: epoch.host,
      kind: numberOf(LOCAL_KINDS, kind),
      bytes: bytesToHex(bytes),
    })),
  }
}

function segmentOf(segment: CheckpointSegment): object {
  return {
    physical: segment.physical,
    logical: segment.logical,
    kind: segment.kind === 'unused' ? 0 : numberOf(SEGMENT_KINDS, segment.kind),
    state: numberOf(SEGMENT_STATES, segment.state),
    usedBytes: segment.usedBytes,
    firstSequence: String(segment.firstSequence),
    lastSequence: String(segment.lastSequence),
    map: bytesToHex(segment.live),
    ranges: segment.ranges.map(({ volume, firstLsn, lastLsn }) => ({
      volume,
      firstLsn: String(firstLsn),
      lastLsn: String(lastLsn),
    })),
  }
}

function nodeOf(node: CheckpointNode): object {
  return {
    id: String(node.id),
    parent: String(node.parent),
    lsn: String(node.lsn),
    flags: 1 << NODE_KINDS.indexOf(node.kind),
    height: node.height,
    root: entryOf(node.root),
    volume: node.volume,
    public: node.publicId,
    sizeBytes: String(node.sizeBytes),
    name: node.name,
    trees: node.deadTrees.map(({ entry, level }) => ({ entry: entryOf(entry), level })),
    tail: node.deadTail.map(entryOf),
  }
}

function volumeOf(volume: CheckpointVolume): object {
  return {
    id: volume.id,
    headNode: String(volume.headNode),
    sizeBytes: String(volume.sizeBytes),
    mode: numberOf(MODES, volume.mode),
    flags: volume.flags,
    name: volume.name,
    appliedLsn: String(volume.appliedLsn),
    appliedPublic: volume.appliedPublic,
    appliedLink: bytesToHex(volume.appliedLink),
    epochs: volume.epochs.map(({ epoch, firstLsn }) => ({
      counter: String(epoch.counter),
      host: epoch.host,
      firstLsn: String(firstLsn),
    })),
    view: bytesToHex(volume.view),
    create: bytesToHex(volume.create),
    attach: bytesToHex(volume.attach),
    sessions: volume.sessions.map(({ session, lastSequence }) => ({
      session,
      lastSequence: String(lastSequence),
    })),
  }
}
