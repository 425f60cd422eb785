/**
 * One value of each structure, fixed for ever: the golden files of format version 1 are made of them. Bytes that stand
 * for ids and hashes follow from a counter, so that each is another and a field out of its place shows.
 */
import { createHash } from 'node:crypto'
import {
  type Epoch,
  HostId,
  type Lsn,
  SessionId,
  Stamp,
  StampHash,
  StoreId,
  Token,
  VersionId,
  VolumeId,
} from '@cloudfs/interface'
import {
  encodeBatch,
  encodeCheckpoint,
  encodeCreate,
  encodeMode,
  encodePage,
  encodePromise,
  encodeResize,
  encodeRun,
  encodeSegmentHeader,
  encodeSnapshotName,
  encodeSuperblock,
  encodeView,
  type Entry,
  ENTRY_EMPTY,
  type FormatKind,
  linkOf,
  type LogRecord,
  padPayload,
  type Run,
} from '../index.js'

/** A golden file: `NAME.bin` and what it holds as `NAME.json`. */
export interface GoldenValue {
  readonly name: string
  readonly kind: FormatKind
  readonly bytes: Uint8Array
}

/** Bytes that nothing else has. */
function draw(label: string, count: number): Uint8Array {
  return new Uint8Array(createHash('sha256').update(`golden ${label}`).digest().subarray(0, count))
}

const host = HostId.fromBytes(draw('host', 20))
const store = StoreId.fromBytes(draw('store', 20))
const volume = VolumeId.fromBytes(draw('volume', 20))
const epoch: Epoch = { counter: 258, host }
const session = SessionId.fromBytes(draw('session', 16))
const entry: Entry = { segment: 0x01020304, slot: 0x0508, birth: 0x090a0b0c0d0e as Lsn, crc: 0xf1f2f3f4 }
const zeroed: Entry = { ...ENTRY_EMPTY, birth: 77 as Lsn }
const sum = (label: string): { crc: number; digest: Uint8Array } => ({
  crc: 0xdeadbeef,
  digest: draw(label, 16),
})
const common = { volume, epoch, commitLsn: 1000 as Lsn, session }
const token = (label: string): Token => Token.fromBytes(draw(label, 20))
const removal = (label: string): LogRecord => ({
  kind: 'delete',
  flags: 0,
  requestSequence: 99n,
  parent: token(label),
  payload: new Uint8Array(),
})

const view = encodeView({
  stampHash: StampHash.fromBytes(draw('stamp hash', 20)),
  primary: host,
  leaseMs: 500,
  oldStamp: Stamp.fromBytes(draw('old stamp', 32)),
  members: [
    { host, store, role: 'data', slice: draw('slice 1', 32) },
    { host: HostId.fromBytes(draw('host 2', 20)), store, role: 'witness', slice: draw('slice 2', 5) },
    { host: HostId.fromBytes(draw('host 3', 20)), store, role: 'learner', slice: new Uint8Array() },
  ],
})
const firstView = {
  stampHash: StampHash.fromBytes(draw('first stamp hash', 20)),
  primary: host,
  leaseMs: 250,
  members: [{ host, store, role: 'data' as const, slice: new Uint8Array() }],
}
const createBase = { sizeBytes: 2n ** 40n, nonce: draw('nonce', 16), view: firstView }
const create = encodeCreate({ ...createBase, mode: 'durable', name: 'disk-ä' })
const createBranch = encodeCreate({
  ...createBase,
  mode: 'local',
  name: '',
  parent: { volume, lsn: 41 as Lsn, publicId: VersionId.fromBytes(draw('parent public', 20)) },
})

const control = { requestSequence: 9n, flags: 0 }
const recordsRun: Run = {
  type: 'records',
  ...common,
  firstLsn: 1001 as Lsn,
  lastPublic: VersionId.fromBytes(draw('last public', 20)),
  records: [
    { ...control, kind: 'view', flags: 3, parent: token('parent 1'), payload: padPayload(view) },
    {
      kind: 'write',
      requestSequence: 2n ** 63n + 1n,
      parent: token('parent 2'),
      extents: [
        { kind: 'data', block: 0, count: 2 },
        { kind: 'zeroed', block: 2, count: 0xffffffff },
        { kind: 'trimmed', block: 2 ** 49, count: 1 },
        { kind: 'data', block: 2 ** 50 - 1, count: 1 },
      ],
      sums: [sum('block 1'), sum('block 2'), sum('block 3')],
    },
    {
      ...control,
      kind: 'snapshot',
      parent: token('parent 3'),
      payload: padPayload(encodeSnapshotName('monday')),
    },
    {
      ...control,
      kind: 'snapshot-delete',
      parent: token('parent 4'),
      payload: padPayload(encodeSnapshotName('sunday')),
    },
    { ...control, kind: 'resize', parent: token('parent 5'), payload: padPayload(encodeResize(2n ** 62n)) },
    { ...control, kind: 'mode', parent: token('parent 6'), payload: padPayload(encodeMode('quorum')) },
    { ...control, kind: 'attach', parent: token('parent 7'), payload: draw('attach', 8) },
    { ...control, kind: 'delete', parent: token('parent 8'), payload: new Uint8Array() },
  ],
}
const createRun: Run = {
  type: 'records',
  ...common,
  session: SessionId.zero,
  firstLsn: 42 as Lsn,
  lastPublic: VersionId.fromBytes(draw('volume', 20)),
  records: [{ ...control, kind: 'create', parent: Token.zero, payload: padPayload(createBranch) }],
}
const movedRun: Run = {
  type: 'moved',
  ...common,
  blocks: [
    { block: 7, birth: 3 as Lsn, fromSegment: 12, fromSlot: 8, ...sum('moved 1') },
    {
      block: 2 ** 50 - 1,
      birth: (2 ** 48 - 1) as Lsn,
      fromSegment: 0xffffffff,
      fromSlot: 0xffff,
      ...sum('moved 2'),
    },
  ],
}
const localRun: Run = {
  type: 'local',
  ...common,
  items: [
    { kind: 'stamp', bytes: draw('stamp', 32) },
    { kind: 'promise', bytes: encodePromise({ counter: 259, host }) },
    { kind: 'commit', bytes: new Uint8Array(new BigUint64Array([999n]).buffer) },
    { kind: 'boot', bytes: draw('boot', 16) },
    { kind: 'stopped', bytes: Uint8Array.of(1) },
    { kind: 'recovering', bytes: Uint8Array.of(0) },
    { kind: 'dropped', bytes: new Uint8Array() },
    { kind: 'attachment', bytes: draw('attachment', 7) },
  ],
}

const place = {
  segment: 17,
  offset: 4096 + 1024,
  sequence: 2n ** 40n + 5n,
  syncedSequence: 2n ** 40n,
  seal: 6n,
}
const checkpoint = encodeCheckpoint({
  store: { nextLogical: 18, nextSequence: 900n, replaySequence: 890n, nextNode: 6n },
  segments: [
    {
      physical: 0,
      logical: 17,
      kind: 'user',
      state: 'open',
      usedBytes: 81920,
      firstSequence: 880n,
      lastSequence: 899n,
      live: Uint8Array.of(0x0f, 0, 0x80),
      ranges: [{ volume, firstLsn: 1 as Lsn, lastLsn: 44 as Lsn }],
    },
    {
      physical: 1,
      logical: 15,
      kind: 'moved',
      state: 'sealed',
      usedBytes: 65536,
      firstSequence: 700n,
      lastSequence: 870n,
      live: new Uint8Array(),
      ranges: [],
    },
    {
      physical: 2,
      logical: 16,
      kind: 'index',
      state: 'sealed',
      usedBytes: 65536,
      firstSequence: 0n,
      lastSequence: 0n,
      live: new Uint8Array(),
      ranges: [],
    },
    {
      physical: 3,
      logical: 0,
      kind: 'unused',
      state: 'free',
      usedBytes: 0,
      firstSequence: 0n,
      lastSequence: 0n,
      live: new Uint8Array(),
      ranges: [],
    },
  ],
  nodes: [
    {
      id: 1n,
      parent: 0n,
      lsn: 30 as Lsn,
      kind: 'named',
      height: 2,
      root: entry,
      volume,
      publicId: VersionId.fromBytes(draw('node 1', 20)),
      sizeBytes: 2n ** 21n,
      name: 'monday',
      deadTrees: [],
      deadTail: [],
    },
    {
      id: 2n,
      parent: 1n,
      lsn: 30 as Lsn,
      kind: 'head',
      height: 2,
      root: entry,
      volume,
      publicId: VersionId.zero,
      sizeBytes: 2n ** 21n,
      name: '',
      deadTrees: [
        { entry, level: 0 },
        { entry, level: 1 },
      ],
      deadTail: [entry, entry],
    },
    {
      id: 5n,
      parent: 0n,
      lsn: 12 as Lsn,
      kind: 'remains',
      height: 0,
      root: ENTRY_EMPTY,
      volume,
      publicId: VersionId.zero,
      sizeBytes: 0n,
      name: '',
      deadTrees: [{ entry, level: 5 }],
      deadTail: [],
    },
    {
      id: 4n,
      parent: 1n,
      lsn: 33 as Lsn,
      kind: 'hidden',
      height: 6,
      root: zeroed,
      volume,
      publicId: VersionId.fromBytes(draw('node 4', 20)),
      sizeBytes: 2n ** 62n,
      name: '',
      deadTrees: [],
      deadTail: [],
    },
  ],
  volumes: [
    {
      id: volume,
      headNode: 2n,
      sizeBytes: 2n ** 21n,
      mode: 'quorum',
      flags: 0,
      name: 'disk-ä',
      appliedLsn: 44 as Lsn,
      appliedPublic: VersionId.fromBytes(draw('applied', 20)),
      appliedLink: linkOf({ epoch, session }, 44 as Lsn, removal('applied parent')),
      epochs: [
        { epoch: { counter: 1, host }, firstLsn: 1 as Lsn },
        { epoch, firstLsn: 40 as Lsn },
      ],
      view: padPayload(view),
      create: padPayload(create),
      attach: draw('attach', 20),
      sessions: [{ session, lastSequence: 2n ** 64n - 1n }],
    },
    {
      id: VolumeId.fromBytes(draw('volume 2', 20)),
      headNode: 0n,
      sizeBytes: 0n,
      mode: 'local',
      flags: 1,
      name: '',
      appliedLsn: 2 as Lsn,
      appliedPublic: VersionId.fromBytes(draw('applied 2', 20)),
      appliedLink: linkOf({ epoch, session: SessionId.zero }, 2 as Lsn, removal('applied parent 2')),
      epochs: [],
      view: new Uint8Array(),
      create: new Uint8Array(),
      attach: new Uint8Array(),
      sessions: [],
    },
  ],
  forwards: [
    {
      logical: 12,
      entries: [
        { fromSlot: 4, toSlot: 8, toSegment: 15 },
        { fromSlot: 12, toSlot: 16, toSegment: 15 },
      ],
    },
  ],
  locals: [
    { volume, epoch, kind: 'stamp', bytes: draw('stamp', 32) },
    {
      volume: VolumeId.zero,
      epoch: { counter: 0, host: HostId.zero },
      kind: 'boot',
      bytes: draw('boot', 16),
    },
  ],
})

/** All golden files of single structures. */
export const goldenValues: readonly GoldenValue[] = [
  { name: 'entry', kind: 'entry', bytes: encodePage(Array.from({ length: 256 }, () => entry)).slice(0, 16) },
  {
    name: 'entry-zeroed',
    kind: 'entry',
    bytes: encodePage(Array.from({ length: 256 }, () => zeroed)).slice(0, 16),
  },
  {
    name: 'superblock',
    kind: 'superblock',
    bytes: encodeSuperblock({
      segmentLog2: 25,
      store,
      host,
      generation: 3n,
      sequence: 2n ** 33n,
      segmentLimit: 512,
      checkpoint: { segment: 9, slot: 32764, birth: 8 as Lsn, crc: 0x01020304 },
      checkpointBytes: 1_048_577n,
      checkpointPhysical: 8,
      checkpointHeight: 2,
      starts: 4n,
    }),
  },
  {
    name: 'superblock-new',
    kind: 'superblock',
    bytes: encodeSuperblock({
      segmentLog2: 16,
      store,
      host,
      generation: 1n,
      sequence: 1n,
      segmentLimit: 1,
      checkpoint: ENTRY_EMPTY,
      checkpointBytes: 0n,
      checkpointPhysical: 0,
      checkpointHeight: 0,
      starts: 1n,
    }),
  },
  {
    name: 'segment-header-user',
    kind: 'segment-header',
    bytes: encodeSegmentHeader({
      logical: 17,
      store,
      physical: 3,
      generation: 3n,
      firstSequence: 880n,
      kind: 'user',
      start: 6n,
    }),
  },
  {
    name: 'segment-header-index',
    kind: 'segment-header',
    bytes: encodeSegmentHeader({
      logical: 16,
      store,
      physical: 2,
      generation: 3n,
      firstSequence: 0n,
      kind: 'index',
      start: 5n,
    }),
  },
  { name: 'run-records', kind: 'run', bytes: encodeRun(recordsRun) },
  { name: 'run-create', kind: 'run', bytes: encodeRun(createRun) },
  { name: 'run-moved', kind: 'run', bytes: encodeRun(movedRun) },
  { name: 'run-local', kind: 'run', bytes: encodeRun(localRun) },
  {
    name: 'batch-user',
    kind: 'batch',
    bytes: encodeBatch({
      ...place,
      alignLog2: 10,
      kind: 'user',
      runs: [createRun, recordsRun, localRun, recordsRun],
    }).header,
  },
  {
    name: 'batch-witness',
    kind: 'batch',
    bytes: encodeBatch({
      ...place,
      alignLog2: 12,
      kind: 'user',
      runs: [createRun, recordsRun, recordsRun],
      bodiless: [1],
    }).header,
  },
  {
    name: 'batch-moved',
    kind: 'batch',
    bytes: encodeBatch({ ...place, alignLog2: 12, kind: 'moved', runs: [movedRun] }).header,
  },
  { name: 'create', kind: 'create', bytes: create },
  { name: 'create-branch', kind: 'create', bytes: createBranch },
  { name: 'view', kind: 'view', bytes: view },
  { name: 'snapshot', kind: 'snapshot', bytes: encodeSnapshotName('monday') },
  { name: 'resize', kind: 'resize', bytes: encodeResize(2n ** 62n) },
  { name: 'mode', kind: 'mode', bytes: encodeMode('local') },
  { name: 'checkpoint', kind: 'checkpoint', bytes: checkpoint },
]
