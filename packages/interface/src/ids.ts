/**
 * Ids. In TypeScript an id is its text form, lower-case hex: it compares with `===`, keys a Map and prints. Codecs turn
 * it into bytes at the edge. The words are those of docs/glossary.md.
 */
import type { Brand } from './brand.js'
import { MalformedIdError } from './errors.js'
import { bytesToHex, hexToBytes, shortened } from './hex.js'

/** Bytes of a host, store, volume, version id or token: a hash cut to 160 bits. */
export const ID_BYTES = 20
export const SESSION_ID_BYTES = 16
export const STAMP_BYTES = 32

/** A machine running one replicator; constant across restarts. */
export type HostId = Brand<string, 'HostId'>
/** A directory or device that holds a log; new at each format. */
export type StoreId = Brand<string, 'StoreId'>
/** A virtual disk: the version id of its first record. */
export type VolumeId = Brand<string, 'VolumeId'>
/** The public id of a volume's state after an update. */
export type VersionId = Brand<string, 'VersionId'>
/** The pre-image of a version id. Whoever knows a head's can extend the history: keep it out of logs. */
export type Token = Brand<string, 'Token'>
/** One client's attachment, for exactly-once retries. */
export type SessionId = Brand<string, 'SessionId'>
/** A view's secret. Keep it out of logs. */
export type Stamp = Brand<string, 'Stamp'>
/** The hash of a view's secret, which the view change shows. */
export type StampHash = Brand<string, 'StampHash'>

/** What an id type needs: its name for messages, its length, and its all-zero value, which stands for "none". */
export interface IdKind<Id extends string> {
  readonly name: string
  readonly bytes: number
  readonly zero: Id
  /** @throws {MalformedIdError} `text` is not exactly as many hex digits as the id has */
  parse(text: string): Id
  /** The id these bytes are. @throws {MalformedIdError} another number of bytes */
  fromBytes(bytes: Uint8Array): Id
  toBytes(id: Id): Uint8Array
  is(text: string): text is Id
}

function idKind<Id extends string>(name: string, bytes: number): IdKind<Id> {
  const pattern = new RegExp(`^[0-9a-f]{${String(2 * bytes)}}$`)
  const is = (text: string): text is Id => pattern.test(text)
  const parse = (text: string): Id => {
    const id = text.toLowerCase()
    if (is(id)) return id
    throw new MalformedIdError(
      `not a ${name}: ${JSON.stringify(shortened(text))} (${String(2 * bytes)} hex digits)`,
      {
        kind: name,
        text: shortened(text),
      },
    )
  }
  const fromBytes = (value: Uint8Array): Id => parse(bytesToHex(value))
  return { name, bytes, zero: fromBytes(new Uint8Array(bytes)), parse, fromBytes, toBytes: hexToBytes, is }
}

export const HostId = idKind<HostId>('host id', ID_BYTES)
export const StoreId = idKind<StoreId>('store id', ID_BYTES)
export const VolumeId = idKind<VolumeId>('volume id', ID_BYTES)
export const VersionId = idKind<VersionId>('version id', ID_BYTES)
export const Token = idKind<Token>('token', ID_BYTES)
export const SessionId = idKind<SessionId>('session id', SESSION_ID_BYTES)
export const StampHash = idKind<StampHash>('stamp hash', ID_BYTES)
export const Stamp = idKind<Stamp>('stamp', STAMP_BYTES)

/** The volume whose first record has this version id. */
export function volumeIdOf(firstVersion: VersionId): VolumeId {
  return firstVersion as string as VolumeId
}
