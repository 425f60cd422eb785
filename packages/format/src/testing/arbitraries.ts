/** Random values of every structure of the format, for property and differential tests. */
import {
  type Epoch,
  HostId,
  type IdKind,
  LSN_MAX,
  type Lsn,
  SessionId,
  Stamp,
  StampHash,
  StoreId,
  Token,
  VersionId,
  VolumeId,
} from '@cloudfs/interface'
import fc, { type Arbitrary } from 'fast-check'
import {
  type Batch,
  type BlockSum,
  BATCH_KINDS,
  bodyBytesOf,
  type Checkpoint,
  checkpointTreeHeight,
  type ControlRecord,
  type CreatePayload,
  DIGEST_BYTES,
  encodeCreate,
  encodeMode,
  encodePromise,
  encodeResize,
  encodeSnapshotName,
  encodeView,
  type Entry,
  ENTRY_EMPTY,
  EXTENT_KINDS,
  LINK_BYTES_MIN,
  type LocalItem,
  MEMBER_ROLES,
  MODES,
  type MovedRun,
  padPayload,
  type RecordsRun,
  type LocalRun,
  type Run,
  type SegmentHeader,
  type Superblock,
  type ViewPayload,
  type WriteRecord,
} from '../index.js'

/** A position in the list of names, 0 being none. */
function named<Name extends string>(names: readonly ['', ...Name[]]): Arbitrary<Name> {
  return fc.constantFrom(...(names.slice(1) as Name[]))
}

const bytes = (count: number): Arbitrary<Uint8Array> => fc.uint8Array({ minLength: count, maxLength: count })
const id = <Id extends string>(kind: IdKind<Id>): Arbitrary<Id> =>
  bytes(kind.bytes).map((value) => kind.fromBytes(value))
const nonZeroId = <Id extends string>(kind: IdKind<Id>): Arbitrary<Id> =>
  id(kind).filter((value) => value !== kind.zero)

const u8 = fc.integer({ min: 0, max: 0xff })
const u16 = fc.integer({ min: 0, max: 0xffff })
const u32 = fc.integer({ min: 0, max: 0xffffffff })
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const positive32 = fc.integer({ min: 1, max: 0xffffffff })
const positive64 = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n })
const lsn = fc.oneof(
  fc.nat({ max: 1000 }),
  fc.maxSafeNat().map((value) => value % 2 ** 48),
  fc.constant(LSN_MAX),
) as Arbitrary<Lsn>
const positiveLsn = lsn.map((value) => Math.max(1, value) as Lsn)
const epoch: Arbitrary<Epoch> = fc.record({ counter: lsn, host: id(HostId) })
const volumeSize = fc.bigInt({ min: 0n, max: 2n ** 50n }).map((blocks) => blocks * 4096n)
/** UTF-8 of at most 255 bytes. */
const name = fc.string({ unit: 'grapheme', maxLength: 40 }).filter((text) => Buffer.byteLength(text) <= 255)
const digest = bytes(DIGEST_BYTES)
const sum: Arbitrary<BlockSum> = fc.record({ crc: u32, digest })

export const entries: Arbitrary<Entry> = fc.oneof(
  fc.record({ segment: positive32, slot: u16, birth: lsn, crc: u32 }),
  lsn.map((birth) => ({ ...ENTRY_EMPTY, birth })),
)

export const superblocks: Arbitrary<Superblock> = fc
  .record({
    segmentLog2: fc.integer({ min: 16, max: 26 }),
    store: id(StoreId),
    host: id(HostId),
    generation: u64,
    sequence: u64,
    segmentLimit: positive32,
    starts: positive64,
    hasCheckpoint: fc.boolean(),
    entry: fc.record({ segment: positive32, birth: lsn, crc: u32 }),
    where: fc.record({ slot: fc.nat(), bytes: fc.bigInt({ min: 0n, max: 2n ** 40n }), physical: fc.nat() }),
  })
  .map(({ hasCheckpoint, entry, where, ...identity }) => {
    if (!hasCheckpoint) {
      return {
        ...identity,
        checkpoint: ENTRY_EMPTY,
        checkpointBytes: 0n,
        checkpointPhysical: 0,
        checkpointHeight: 0,
      }
    }
    const pages = 2 ** identity.segmentLog2 / 4096 - 1
    const capacity = BigInt(identity.segmentLimit) * 2n ** BigInt(identity.segmentLog2)
    const checkpointBytes = 1n + (where.bytes % capacity)
    return {
      ...identity,
      checkpoint: { ...entry, slot: 4 * (1 + (where.slot % pages)) },
      checkpointBytes,
      checkpointPhysical: where.physical % identity.segmentLimit,
      checkpointHeight: checkpointTreeHeight(checkpointBytes),
    }
  })

export const segmentHeaders: Arbitrary<SegmentHeader> = fc
  .record({
    logical: positive32,
    store: id(StoreId),
    physical: u32,
    generation: u64,
    firstSequence: positive64,
    kind: fc.constantFrom('user' as const, 'moved' as const, 'index' as const),
    start: positive64,
  })
  .map((header) => (header.kind === 'index' ? { ...header, firstSequence: 0n } : header))

export const viewPayloads: Arbitrary<ViewPayload> = fc
  .record({
    stampHash: id(StampHash),
    primary: id(HostId),
    leaseMs: u32,
    oldStamp: fc.option(id(Stamp), { nil: undefined }),
    members: fc.array(
      fc.record({
        host: id(HostId),
        store: id(StoreId),
        role: named(MEMBER_ROLES),
        slice: fc.uint8Array({ maxLength: 90 }),
      }),
      { minLength: 1, maxLength: 5 },
    ),
  })
  .map(({ oldStamp, ...view }) => ({ ...view, ...(oldStamp !== undefined && { oldStamp }) }))

export const createPayloads: Arbitrary<CreatePayload> = fc
  .record({
    sizeBytes: volumeSize,
    mode: named(MODES),
    name,
    nonce: bytes(16),
    parent: fc.option(
      fc.record({
        volume: id(VolumeId),
        lsn: positiveLsn.map((value) => Math.min(value, LSN_MAX - 1) as Lsn),
        publicId: id(VersionId),
      }),
      { nil: undefined },
    ),
    view: viewPayloads,
  })
  .map(({ parent, ...create }) => ({ ...create, ...(parent !== undefined && { parent }) }))

export const snapshotNames = name.filter((text) => text !== '')
export const volumeSizes = volumeSize
export const modes = named(MODES)

const writes: Arbitrary<WriteRecord> = fc
  .record({
    requestSequence: u64,
    parent: nonZeroId(Token),
    gaps: fc.array(
      fc.record({
        kind: named(EXTENT_KINDS),
        gap: fc.oneof(fc.nat({ max: 3 }), fc.integer({ min: 0, max: 2 ** 45 })),
        count: fc.integer({ min: 1, max: 4 }),
        far: positive32,
      }),
      { minLength: 1, maxLength: 5 },
    ),
    sums: fc.array(sum, { minLength: 20, maxLength: 20 }),
  })
  .map(({ requestSequence, parent, gaps, sums }) => {
    let block = 0
    const extents = gaps.map(({ kind, gap, count, far }) => {
      const extent = { kind, block: block + gap, count: kind === 'data' ? count : far }
      block = extent.block + extent.count
      return extent
    })
    const stored = extents.reduce((total, extent) => total + (extent.kind === 'data' ? extent.count : 0), 0)
    return { kind: 'write', requestSequence, parent, extents, sums: sums.slice(0, stored) }
  })

const firstOnly = fc.oneof(
  createPayloads.map((create) => ({
    kind: 'create' as const,
    payload: encodeCreate(create),
    create,
    flags: 0,
  })),
  fc.record({
    kind: fc.constant('view' as const),
    payload: viewPayloads.map(encodeView),
    flags: fc.integer({ min: 0, max: 3 }),
  }),
)

const anywhere = fc.oneof(
  fc.record({
    kind: fc.constantFrom('snapshot' as const, 'snapshot-delete' as const),
    payload: snapshotNames.map(encodeSnapshotName),
  }),
  fc.record({ kind: fc.constant('resize' as const), payload: volumeSize.map(encodeResize) }),
  fc.record({ kind: fc.constant('mode' as const), payload: modes.map(encodeMode) }),
  fc.record({ kind: fc.constant('delete' as const), payload: fc.constant(new Uint8Array()) }),
  fc.record({ kind: fc.constant('attach' as const), payload: fc.uint8Array({ maxLength: 30 }) }),
)

const controls: Arbitrary<ControlRecord> = fc
  .record({ what: anywhere, requestSequence: u64, parent: nonZeroId(Token) })
  .map(({ what, ...record }) => ({ ...record, flags: 0, kind: what.kind, payload: padPayload(what.payload) }))

const runCommon = { volume: id(VolumeId), epoch, commitLsn: lsn, session: id(SessionId) }

export const recordsRuns: Arbitrary<RecordsRun> = fc
  .record({
    ...runCommon,
    firstLsn: positiveLsn,
    lastPublic: id(VersionId),
    first: fc.option(fc.record({ what: firstOnly, requestSequence: u64, parent: nonZeroId(Token) }), {
      nil: undefined,
      freq: 3,
    }),
    rest: fc.array(fc.oneof({ arbitrary: writes, weight: 3 }, { arbitrary: controls, weight: 1 }), {
      minLength: 1,
      maxLength: 5,
    }),
  })
  .map(({ first, rest, firstLsn, ...common }) => {
    const limit = (LSN_MAX - rest.length) as Lsn
    if (first === undefined) {
      return { type: 'records', ...common, firstLsn: Math.min(firstLsn, limit) as Lsn, records: rest }
    }
    const { what, requestSequence, parent } = first
    const isCreate = what.kind === 'create'
    const record = {
      kind: what.kind,
      flags: what.flags,
      requestSequence,
      parent: isCreate ? Token.zero : parent,
      payload: padPayload(what.payload),
    }
    if (!isCreate)
      return {
        type: 'records',
        ...common,
        firstLsn: Math.min(firstLsn, limit) as Lsn,
        records: [record, ...rest],
      }
    const createLsn = ((what.create.parent?.lsn ?? 0) + 1) as Lsn
    const fitting = createLsn > limit ? [] : rest
    return { type: 'records', ...common, firstLsn: createLsn, records: [record, ...fitting] }
  })

export const movedRuns: Arbitrary<MovedRun> = fc.record({
  type: fc.constant('moved' as const),
  ...runCommon,
  blocks: fc.array(
    fc.record({
      block: fc.integer({ min: 0, max: 2 ** 50 - 1 }),
      birth: positiveLsn,
      fromSegment: positive32,
      fromSlot: u16,
      crc: u32,
      digest,
    }),
    { minLength: 1, maxLength: 6 },
  ),
})

const localItems: Arbitrary<LocalItem> = fc.oneof(
  fc.record({ kind: fc.constant('stamp' as const), bytes: bytes(32) }),
  fc.record({ kind: fc.constant('promise' as const), bytes: epoch.map(encodePromise) }),
  fc.record({
    kind: fc.constant('commit' as const),
    bytes: lsn.map((value) => new Uint8Array(new BigUint64Array([BigInt(value)]).buffer)),
  }),
  fc.record({ kind: fc.constant('boot' as const), bytes: bytes(16) }),
  fc.record({
    kind: fc.constantFrom('stopped' as const, 'recovering' as const),
    bytes: fc.constantFrom(Uint8Array.of(0), Uint8Array.of(1)),
  }),
  fc.record({ kind: fc.constant('dropped' as const), bytes: fc.constant(new Uint8Array()) }),
  fc.record({ kind: fc.constant('attachment' as const), bytes: fc.uint8Array({ maxLength: 30 }) }),
)

export const localRuns: Arbitrary<LocalRun> = fc.record({
  type: fc.constant('local' as const),
  ...runCommon,
  items: fc.array(localItems, { minLength: 1, maxLength: 5 }),
})

export const runs: Arbitrary<Run> = fc.oneof(recordsRuns, movedRuns, localRuns)

export const batches: Arbitrary<Batch> = fc
  .record({
    segment: positive32,
    offset: fc.integer({ min: 4, max: 2 ** 16 }).map((slot) => slot * 1024),
    sequence: positive64,
    syncedSequence: u64,
    alignLog2: fc.integer({ min: 10, max: 12 }),
    seal: positive64,
    kind: named(BATCH_KINDS),
    userRuns: fc.array(fc.oneof(recordsRuns, localRuns), { minLength: 1, maxLength: 3 }),
    movedRuns: fc.array(movedRuns, { minLength: 1, maxLength: 3 }),
    witnessed: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
  })
  .map(({ userRuns, movedRuns: moved, witnessed, ...batch }) => {
    const bodiless = userRuns.flatMap((run, index) =>
      run.type === 'records' && bodyBytesOf(run) > 0 && witnessed[index] === true ? [index] : [],
    )
    return {
      ...batch,
      syncedSequence: batch.syncedSequence % batch.sequence,
      runs: batch.kind === 'user' ? userRuns : moved,
      ...(batch.kind === 'user' && bodiless.length > 0 && { bodiless }),
    }
  })

const bitmaps = fc
  .uint8Array({ maxLength: 40 })
  .map((map) => (map.at(-1) === 0 ? Uint8Array.of(...map, 1) : map))

export const checkpoints: Arbitrary<Checkpoint> = fc.record({
  store: fc.record({ nextLogical: u32, nextSequence: u64, replaySequence: u64, nextNode: u64 }),
  segments: fc.array(
    fc
      .record({
        physical: u32,
        logical: u32,
        kind: fc.constantFrom('unused' as const, 'user' as const, 'moved' as const, 'index' as const),
        state: fc.constantFrom('open' as const, 'sealed' as const, 'free' as const),
        usedBytes: u32,
        firstSequence: u64,
        lastSequence: u64,
        live: bitmaps,
        ranges: fc.array(fc.record({ volume: id(VolumeId), firstLsn: lsn, lastLsn: lsn }), { maxLength: 3 }),
      })
      .map((segment) => (segment.kind === 'unused' ? { ...segment, state: 'free' as const } : segment)),
    { maxLength: 4 },
  ),
  nodes: fc.array(
    fc.record({
      id: u64,
      parent: u64,
      lsn,
      kind: fc.constantFrom('head' as const, 'named' as const, 'hidden' as const, 'remains' as const),
      height: fc.integer({ min: 0, max: 6 }),
      root: entries,
      volume: id(VolumeId),
      publicId: id(VersionId),
      sizeBytes: volumeSize,
      name,
      deadTrees: fc.array(fc.record({ entry: entries, level: fc.integer({ min: 0, max: 5 }) }), {
        maxLength: 3,
      }),
      deadTail: fc.array(entries, { maxLength: 4 }),
    }),
    { maxLength: 4 },
  ),
  volumes: fc.array(
    fc
      .record({
        id: id(VolumeId),
        headNode: u64,
        sizeBytes: volumeSize,
        mode: modes,
        flags: fc.integer({ min: 0, max: 1 }),
        name,
        appliedLsn: lsn,
        appliedPublic: id(VersionId),
        appliedLink: fc.uint8Array({ minLength: LINK_BYTES_MIN, maxLength: LINK_BYTES_MIN + 40 }),
        epochs: fc.array(fc.record({ epoch, firstLsn: lsn }), { maxLength: 3 }),
        view: viewPayloads.map((view) => padPayload(encodeView(view))),
        create: createPayloads.map((create) => padPayload(encodeCreate(create))),
        attach: fc.uint8Array({ maxLength: 64 }),
        sessions: fc.array(fc.record({ session: id(SessionId), lastSequence: u64 }), { maxLength: 3 }),
      })
      .map((volume) => {
        const link = volume.appliedLink
        new DataView(link.buffer, link.byteOffset).setBigUint64(48, BigInt(volume.appliedLsn), true)
        return volume
      }),
    { maxLength: 3 },
  ),
  forwards: fc.array(
    fc.record({
      logical: u32,
      entries: fc
        .uniqueArray(fc.record({ fromSlot: u16, toSlot: u16, toSegment: u32 }), {
          selector: (entry) => entry.fromSlot,
          maxLength: 5,
        })
        .map((list) => list.toSorted((a, b) => a.fromSlot - b.fromSlot)),
    }),
    { maxLength: 3 },
  ),
  locals: fc.array(
    fc
      .record({ volume: id(VolumeId), epoch, item: localItems })
      .map(({ item, ...where }) => ({ ...where, ...item })),
    { maxLength: 4 },
  ),
})

/** What happens to bytes on a bad disk, or at the hands of a bad program. */
export interface Mutation {
  /** Share of the bytes kept. 1 = nothing is cut off. */
  readonly kept: number
  /** Where, as a share of the length, and which of the byte's bits change. */
  readonly flips: readonly { readonly at: number; readonly xor: number }[]
}

export const mutations: Arbitrary<Mutation> = fc.record({
  kept: fc.oneof(
    { arbitrary: fc.constant(1), weight: 6 },
    { arbitrary: fc.double({ min: 0, max: 1, noNaN: true }), weight: 1 },
  ),
  flips: fc.array(
    fc.record({
      at: fc.double({ min: 0, max: 0.999_999, noNaN: true }),
      xor: fc.oneof(
        fc.constantFrom(1, 2, 4, 8, 0x80, 0xff),
        u8.filter((value) => value > 0),
      ),
    }),
    { maxLength: 3 },
  ),
})

/** A damaged copy. */
export function mutate(original: Uint8Array, mutation: Mutation): Uint8Array {
  const copy = original.slice(0, Math.ceil(original.length * mutation.kept))
  for (const { at, xor } of mutation.flips) {
    const index = Math.floor(at * copy.length)
    if (index < copy.length) copy[index] = (copy[index] ?? 0) ^ xor
  }
  return copy
}
