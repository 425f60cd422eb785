/** Run: the unit that travels on the wire, byte for byte (docs/disk-format.md, Run). */
import assert from 'node:assert'
import {
  BLOCK_BYTES,
  type Epoch,
  HostId,
  LSN_MAX,
  type Lsn,
  RecordCorruptError,
  RecordVersionError,
  SessionId,
  VersionId,
  VolumeId,
} from '@cloudfs/interface'
import { ByteReader } from './byte-reader.js'
import { ByteWriter } from './byte-writer.js'
import { crc32cWithout } from './crc32c.js'
import { LOCAL_HEADER_BYTES, type LocalItem, readLocalItem, writeLocalItem } from './local-item.js'
import { MOVED_BLOCK_BYTES, type MovedBlock, readMovedBlock, writeMovedBlock } from './moved-block.js'
import {
  type BlockSum,
  dataBlocks,
  type LogRecord,
  readRecord,
  RECORD_HEADER_BYTES,
  writeRecord,
} from './record.js'

export const RUN_HEADER_BYTES = 128
export const RUN_VERSION = 1
/** No run, header and descriptors, is longer than the largest segment. */
export const RUN_BYTES_MAX = 64 * 2 ** 20

const CRC_OFFSET = 124

interface RunCommon {
  readonly volume: VolumeId
  readonly epoch: Epoch
  /** Commit point known to the writer; 0 = none. */
  readonly commitLsn: Lsn
  readonly session: SessionId
}

/** Consecutive records of one volume, epoch and session. */
export interface RecordsRun extends RunCommon {
  readonly type: 'records'
  readonly firstLsn: Lsn
  /** Public id after the last record. */
  readonly lastPublic: VersionId
  readonly records: readonly LogRecord[]
}

export interface MovedRun extends RunCommon {
  readonly type: 'moved'
  readonly blocks: readonly MovedBlock[]
}

/** `volume` is zero where the items concern the store. */
export interface LocalRun extends RunCommon {
  readonly type: 'local'
  readonly items: readonly LocalItem[]
}

export type Run = RecordsRun | MovedRun | LocalRun
/** By their numbers on disk. */
export const RUN_TYPES = ['', 'records', 'moved', 'local'] as const

/** Bytes of the run's body: 4096 for each data or moved block. */
export function bodyBytesOf(run: Run): number {
  return BLOCK_BYTES * sumsOf(run).length
}

/** crc and digest of each block of the run's body, in order. */
export function sumsOf(run: Run): readonly BlockSum[] {
  if (run.type === 'records')
    return run.records.flatMap((record) => (record.kind === 'write' ? record.sums : []))
  return run.type === 'moved' ? run.blocks : []
}

/** Lsn of the run's last record. */
export function lastLsn(run: RecordsRun): Lsn {
  return (run.firstLsn + run.records.length - 1) as Lsn
}

export function encodeRun(run: Run): Uint8Array {
  const isRecords = run.type === 'records'
  const count = isRecords ? run.records.length : run.type === 'moved' ? run.blocks.length : run.items.length
  assert(count > 0, 'a run is not empty')
  const writer = new ByteWriter()
  writer.oneOf(RUN_TYPES, run.type).u8(RUN_VERSION).zeros(2).u32(0)
  writer.id(VolumeId, run.volume).id(HostId, run.epoch.host).u64(run.epoch.counter)
  writer
    .u64(isRecords ? run.firstLsn : 0)
    .u32(count)
    .u32(bodyBytesOf(run))
    .u64(run.commitLsn)
  writer
    .id(SessionId, run.session)
    .id(VersionId, isRecords ? run.lastPublic : VersionId.zero)
    .zeros(8)
    .u32(0)
  if (run.type === 'records') for (const record of run.records) writeRecord(writer, record)
  else if (run.type === 'moved') for (const block of run.blocks) writeMovedBlock(writer, block)
  else for (const item of run.items) writeLocalItem(writer, item)
  writer.patchU32(4, writer.length)
  return writer.patchU32(CRC_OFFSET, crc32cWithout(writer.finish(), CRC_OFFSET)).finish()
}

/** What a run's first bytes say of its length. Not verified, but within bounds. */
export interface RunLengths {
  readonly runBytes: number
  readonly bodyBytes: number
}

/**
 * How much to read before `decodeRun` can be asked.
 *
 * @throws {RecordCorruptError} fewer than `RUN_HEADER_BYTES`, or a length out of bounds
 */
export function peekRun(header: Uint8Array): RunLengths {
  const reader = new ByteReader(header, 'run', RecordCorruptError)
  const runBytes = readRunBytes(reader, RUN_BYTES_MAX)
  reader.view('volume', 60)
  const bodyBytes = reader.u32('bodyBytes', RUN_BYTES_MAX)
  if (bodyBytes % BLOCK_BYTES !== 0) reader.refuse('bodyBytes', `is ${String(bodyBytes)}`)
  return { runBytes, bodyBytes }
}

/** From the run's start: the length of header and descriptors, which is what `decodeRun` reads. */
export function readRunBytes(reader: ByteReader, runBytesMax: number): number {
  reader.expect('header', RUN_HEADER_BYTES, 1)
  reader.view('type', 4)
  const runBytes = reader.u32('runBytes', runBytesMax)
  if (runBytes < RUN_HEADER_BYTES || runBytes % 4 !== 0) reader.refuse('runBytes', `is ${String(runBytes)}`)
  return runBytes
}

/**
 * Decodes the run at the start of `bytes`; more may follow it.
 *
 * @throws {RecordVersionError} intact, but of a later version
 * @throws {RecordCorruptError} anything else that is not a run, a malformed payload of a control record included
 */
export function decodeRun(bytes: Uint8Array): Run {
  const runBytes = readRunBytes(new ByteReader(bytes, 'run', RecordCorruptError), bytes.length)
  const reader: ByteReader = new ByteReader(bytes.subarray(0, runBytes), 'run', RecordCorruptError)
  const storedCrc = new DataView(bytes.buffer, bytes.byteOffset).getUint32(CRC_OFFSET, true)
  if (crc32cWithout(bytes.subarray(0, runBytes), CRC_OFFSET) !== storedCrc)
    reader.refuse('crc', 'does not hold')

  const typeNumber = reader.u8('type')
  const version = reader.u8('version')
  if (version > RUN_VERSION)
    throw new RecordVersionError(`a run is of version ${String(version)}`, { version })
  const type = typeNumber === 0 ? undefined : RUN_TYPES[typeNumber]
  if (version === 0 || type === undefined || type === '') reader.refuse('type', `is ${String(typeNumber)}`)
  reader.zeros('reserved', 2)
  reader.u32('runBytes')
  const volume = reader.id('volume', VolumeId)
  const host = reader.id('epochHost', HostId)
  const counter = reader.lsn('epochCounter')
  const firstLsn = reader.lsn('firstLsn')
  const count = reader.u32('count')
  const bodyBytes = reader.u32('bodyBytes')
  const commitLsn = reader.lsn('commitLsn')
  const session = reader.id('session', SessionId)
  const lastPublic = reader.id('lastPublic', VersionId)
  reader.zeros('reserved', 8)
  reader.u32('crc')
  if (count === 0) reader.refuse('count', 'is 0')
  const run = readItems(
    reader,
    type,
    { volume, epoch: { counter, host }, commitLsn, session },
    count,
    firstLsn,
    lastPublic,
  )
  reader.end()
  if (bodyBytesOf(run) !== bodyBytes) reader.refuse('bodyBytes', `is ${String(bodyBytes)}`)
  return run
}

function readItems(
  reader: ByteReader,
  type: Run['type'],
  common: RunCommon,
  count: number,
  firstLsn: Lsn,
  lastPublic: VersionId,
): Run {
  if (type === 'records') {
    if (firstLsn === 0 || firstLsn + count - 1 > LSN_MAX) reader.refuse('firstLsn', `is ${String(firstLsn)}`)
    reader.expect('count', count, RECORD_HEADER_BYTES)
    const records = Array.from({ length: count }, (_, index) =>
      readRecord(reader, (firstLsn + index) as Lsn, index === 0),
    )
    return { type, ...common, firstLsn, lastPublic, records }
  }
  if (firstLsn !== 0) reader.refuse('firstLsn', `is ${String(firstLsn)}`)
  if (lastPublic !== VersionId.zero) reader.refuse('lastPublic', 'is not zero')
  if (type === 'moved') {
    reader.expect('count', count, MOVED_BLOCK_BYTES)
    return { type, ...common, blocks: Array.from({ length: count }, () => readMovedBlock(reader)) }
  }
  reader.expect('count', count, LOCAL_HEADER_BYTES)
  return {
    type,
    ...common,
    items: Array.from({ length: count }, () => readLocalItem(reader, RecordCorruptError)),
  }
}

/** Where the run's blocks stand in its body, record by record: how many come before each. */
export function blocksBefore(run: RecordsRun): number[] {
  let before = 0
  return run.records.map((record) => {
    const start = before
    before += dataBlocks(record)
    return start
  })
}
