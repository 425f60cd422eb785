/** Local items: what a store keeps for itself, in runs of type 3 (docs/disk-format.md, Local item). */
import assert from 'node:assert'
import { EPOCH_COUNTER_MAX, type Epoch, HostId, LSN_MAX, type Lsn } from '@cloudfs/interface'
import { ByteReader, type FormatErrorClass } from './byte-reader.js'
import { alignUp, ByteWriter } from './byte-writer.js'

export const LOCAL_HEADER_BYTES = 8

export type LocalKind =
  'stamp' | 'promise' | 'commit' | 'boot' | 'stopped' | 'recovering' | 'dropped' | 'attachment'

/** By their numbers on disk. */
export const LOCAL_KINDS = [
  '',
  'stamp',
  'promise',
  'commit',
  'boot',
  'stopped',
  'recovering',
  'dropped',
  'attachment',
] as const

export interface LocalItem {
  readonly kind: LocalKind
  readonly bytes: Uint8Array
}

export function writeLocalItem(writer: ByteWriter, item: LocalItem): void {
  writer.u16(LOCAL_KINDS.indexOf(item.kind)).zeros(2).u32(item.bytes.length).bytes(item.bytes)
  writer.zeros(alignUp(item.bytes.length, 4) - item.bytes.length)
}

export function readLocalItem(reader: ByteReader, error: FormatErrorClass): LocalItem {
  const item = readUnpaddedLocalItem(reader, error)
  reader.zeros('padding', alignUp(item.bytes.length, 4) - item.bytes.length)
  return item
}

/** As it stands in the checkpoint: nothing pads it. */
export function readUnpaddedLocalItem(reader: ByteReader, error: FormatErrorClass): LocalItem {
  const kindNumber = reader.u16('kind')
  const kind = kindNumber === 0 ? undefined : LOCAL_KINDS[kindNumber]
  if (kind === undefined || kind === '') reader.refuse('kind', `has the unknown value ${String(kindNumber)}`)
  reader.zeros('reserved', 2)
  const bytes = reader.bytes('bytes', reader.u32('length'))
  checkLocalItem(kind, bytes, error)
  return { kind, bytes }
}

/** The promise as bytes: the item's own epoch, which is not that of its run. */
export function encodePromise(epoch: Epoch): Uint8Array {
  return new ByteWriter().epoch(epoch).finish()
}

/** The promise, of an item that a decoder let through. */
export function promiseOf(item: LocalItem): Epoch {
  assert.equal(item.kind, 'promise')
  const view = new DataView(item.bytes.buffer, item.bytes.byteOffset)
  return { counter: Number(view.getBigUint64(0, true)), host: HostId.fromBytes(item.bytes.subarray(8, 28)) }
}

/** The commit point, of an item that a decoder let through. */
export function commitOf(item: LocalItem): Lsn {
  assert.equal(item.kind, 'commit')
  return Number(new DataView(item.bytes.buffer, item.bytes.byteOffset).getBigUint64(0, true)) as Lsn
}

/** Refuses, with the error given, bytes that an item of this kind does not hold. */
function checkLocalItem(kind: LocalKind, bytes: Uint8Array, error: FormatErrorClass): void {
  const reader = new ByteReader(bytes, `local item ${kind}`, error)
  switch (kind) {
    case 'stamp':
      reader.view('stamp', 32)
      break
    case 'promise':
      reader.u64('counter', BigInt(EPOCH_COUNTER_MAX))
      reader.id('host', HostId)
      break
    case 'commit':
      reader.u64('commit', BigInt(LSN_MAX))
      break
    case 'boot':
      reader.view('boot id', 16)
      break
    case 'stopped':
    case 'recovering':
      reader.flag(kind)
      break
    case 'dropped':
      break
    case 'attachment':
      return
  }
  reader.end()
}
