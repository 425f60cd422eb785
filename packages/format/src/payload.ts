/**
 * Payloads of control records (docs/disk-format.md, Payloads of control records).
 *
 * A stored payload is zero-padded to a multiple of 4. Decoders take it with its padding or without; encoders give it
 * without.
 */
import assert from 'node:assert'
import {
  BLOCK_BYTES,
  HostId,
  type Lsn,
  NAME_BYTES_MAX,
  PayloadInvalidError,
  Stamp,
  StampHash,
  StoreId,
  VersionId,
  VOLUME_BYTES_MAX,
  VolumeId,
} from '@cloudfs/interface'
import { ByteReader, type FormatErrorClass } from './byte-reader.js'
import { ByteWriter, textBytes } from './byte-writer.js'

export type Mode = 'durable' | 'quorum' | 'local'
/** By their numbers on disk. */
export const MODES = ['', 'durable', 'quorum', 'local'] as const
export type MemberRole = 'data' | 'witness' | 'learner'
/** By their numbers on disk. */
export const MEMBER_ROLES = ['', 'data', 'witness', 'learner'] as const

export const NONCE_BYTES = 16

export interface ViewMember {
  readonly host: HostId
  readonly store: StoreId
  readonly role: MemberRole
  /** The member's slice of the stamp, sealed to its host's key; at most 65535 bytes. */
  readonly slice: Uint8Array
}

/** A view change: who is primary, who keeps replicas. */
export interface ViewPayload {
  readonly stampHash: StampHash
  readonly primary: HostId
  readonly leaseMs: number
  /** The revealed stamp of the view before. */
  readonly oldStamp?: Stamp
  /** 1 to 255. */
  readonly members: readonly ViewMember[]
}

/** Where a branch leaves its parent. */
export interface BranchPoint {
  readonly volume: VolumeId
  /** The branch's first lsn is this + 1. */
  readonly lsn: Lsn
  readonly publicId: VersionId
}

export interface CreatePayload {
  readonly sizeBytes: bigint
  readonly mode: Mode
  readonly name: string
  /** `NONCE_BYTES` random bytes: two volumes alike in all else differ in their id. */
  readonly nonce: Uint8Array
  readonly parent?: BranchPoint
  readonly view: ViewPayload
}

export function encodeCreate(payload: CreatePayload): Uint8Array {
  const { parent } = payload
  assert(isVolumeSize(payload.sizeBytes), `${String(payload.sizeBytes)} is no volume size`)
  assert(payload.nonce.length === NONCE_BYTES, 'a nonce has 16 bytes')
  const writer = new ByteWriter()
  writer
    .u64(payload.sizeBytes)
    .oneOf(MODES, payload.mode)
    .u8(textBytes(payload.name))
    .flag(parent !== undefined)
  writer.zeros(1).bytes(payload.nonce)
  writer.id(VolumeId, parent?.volume ?? VolumeId.zero).u64(parent?.lsn ?? 0)
  writer.id(VersionId, parent?.publicId ?? VersionId.zero).text(payload.name)
  return writer.bytes(encodeView(payload.view)).finish()
}

/** @throws {PayloadInvalidError} the bytes break the table */
export function decodeCreate(bytes: Uint8Array): CreatePayload {
  return whole(bytes, 'create payload', PayloadInvalidError, readCreate)
}

export function encodeView(payload: ViewPayload): Uint8Array {
  const writer = new ByteWriter()
  assert(payload.members.length > 0, 'a view has members')
  writer
    .id(StampHash, payload.stampHash)
    .id(HostId, payload.primary)
    .u32(payload.leaseMs)
    .u8(payload.members.length)
  writer.flag(payload.oldStamp !== undefined).id(Stamp, payload.oldStamp ?? Stamp.zero)
  for (const member of payload.members) {
    writer.id(HostId, member.host).id(StoreId, member.store).oneOf(MEMBER_ROLES, member.role)
    writer.u16(member.slice.length).bytes(member.slice)
  }
  return writer.finish()
}

/** @throws {PayloadInvalidError} the bytes break the table */
export function decodeView(bytes: Uint8Array): ViewPayload {
  return whole(bytes, 'view payload', PayloadInvalidError, readView)
}

/** Of snapshot and snapshot-delete. */
export function encodeSnapshotName(name: string): Uint8Array {
  assert(name.length > 0, 'a snapshot has a name')
  return new ByteWriter().u8(textBytes(name)).text(name).finish()
}

/** @throws {PayloadInvalidError} the bytes break the table */
export function decodeSnapshotName(bytes: Uint8Array): string {
  return whole(bytes, 'snapshot payload', PayloadInvalidError, readSnapshotName)
}

export function encodeResize(sizeBytes: bigint): Uint8Array {
  assert(isVolumeSize(sizeBytes), `${String(sizeBytes)} is no volume size`)
  return new ByteWriter().u64(sizeBytes).finish()
}

/** @throws {PayloadInvalidError} the bytes break the table */
export function decodeResize(bytes: Uint8Array): bigint {
  return whole(bytes, 'resize payload', PayloadInvalidError, readSize)
}

export function encodeMode(mode: Mode): Uint8Array {
  return new ByteWriter().oneOf(MODES, mode).finish()
}

/** @throws {PayloadInvalidError} the bytes break the table */
export function decodeMode(bytes: Uint8Array): Mode {
  return whole(bytes, 'mode payload', PayloadInvalidError, readMode)
}

/** A multiple of 4096, at most 2^62. */
export function isVolumeSize(sizeBytes: bigint): boolean {
  return sizeBytes >= 0n && sizeBytes <= VOLUME_BYTES_MAX && sizeBytes % BigInt(BLOCK_BYTES) === 0n
}

/** Kinds of control records. */
export type ControlKind =
  'create' | 'view' | 'snapshot' | 'resize' | 'mode' | 'delete' | 'snapshot-delete' | 'attach'

const readers: Readonly<Record<ControlKind, (reader: ByteReader) => unknown>> = {
  create: readCreate,
  view: readView,
  snapshot: readSnapshotName,
  resize: readSize,
  mode: readMode,
  delete: () => undefined,
  'snapshot-delete': readSnapshotName,
  attach: (reader) => reader.view('attach', reader.remaining),
}

/** Refuses, with the error given, a payload that is not what its kind asks for. */
export function checkPayload(kind: ControlKind, bytes: Uint8Array, error: FormatErrorClass): void {
  whole(bytes, `${kind} payload`, error, readers[kind])
}

/** Reads a value and its padding, and refuses anything behind. */
function whole<T>(
  bytes: Uint8Array,
  structure: string,
  error: FormatErrorClass,
  read: (reader: ByteReader) => T,
): T {
  const reader = new ByteReader(bytes, structure, error)
  const value = read(reader)
  reader.zeros('padding', Math.min(reader.remaining, 3))
  reader.end()
  return value
}

function readCreate(reader: ByteReader): CreatePayload {
  const sizeBytes = readSize(reader)
  const mode = reader.oneOf('mode', MODES)
  const nameBytes = reader.u8('nameBytes')
  const hasParent = reader.flag('hasParent')
  reader.zeros('reserved', 1)
  const nonce = reader.bytes('nonce', NONCE_BYTES)
  const volume = reader.id('parentVolume', VolumeId)
  const lsn = reader.lsn('parentLsn')
  const publicId = reader.id('parentPublic', VersionId)
  if (hasParent ? lsn === 0 : lsn !== 0 || volume !== VolumeId.zero || publicId !== VersionId.zero) {
    reader.refuse('parent', hasParent ? 'has lsn 0' : 'is given and not given')
  }
  const name = reader.text('name', nameBytes)
  const view = readView(reader)
  return { sizeBytes, mode, name, nonce, ...(hasParent && { parent: { volume, lsn, publicId } }), view }
}

function readView(reader: ByteReader): ViewPayload {
  const stampHash = reader.id('stampHash', StampHash)
  const primary = reader.id('primary', HostId)
  const leaseMs = reader.u32('leaseMs')
  const memberCount = reader.u8('memberCount')
  if (memberCount === 0) reader.refuse('memberCount', 'is 0')
  const oldStampKnown = reader.flag('oldStampKnown')
  const oldStamp = reader.id('oldStamp', Stamp)
  if (!oldStampKnown && oldStamp !== Stamp.zero) reader.refuse('oldStamp', 'is given and not known')
  reader.expect('memberCount', memberCount, 43)
  const members = Array.from({ length: memberCount }, () => readMember(reader))
  return { stampHash, primary, leaseMs, ...(oldStampKnown && { oldStamp }), members }
}

function readMember(reader: ByteReader): ViewMember {
  const host = reader.id('host', HostId)
  const store = reader.id('store', StoreId)
  const role = reader.oneOf('role', MEMBER_ROLES)
  return { host, store, role, slice: reader.bytes('slice', reader.u16('sliceBytes')) }
}

function readSnapshotName(reader: ByteReader): string {
  const nameBytes = reader.u8('nameBytes', NAME_BYTES_MAX)
  if (nameBytes === 0) reader.refuse('nameBytes', 'is 0')
  return reader.text('name', nameBytes)
}

function readSize(reader: ByteReader): bigint {
  const sizeBytes = reader.u64('sizeBytes')
  if (!isVolumeSize(sizeBytes)) reader.refuse('sizeBytes', `is ${String(sizeBytes)}`)
  return sizeBytes
}

function readMode(reader: ByteReader): Mode {
  return reader.oneOf('mode', MODES)
}
