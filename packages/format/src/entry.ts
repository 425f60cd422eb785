/** Entry: the one pointer of the format, 16 bytes (docs/disk-format.md, Entry). */
import { EntryCorruptError, type Lsn } from '@cloudfs/interface'
import { ByteReader } from './byte-reader.js'
import type { ByteWriter } from './byte-writer.js'

export const ENTRY_BYTES = 16

/** A place for one block or page. */
export interface Entry {
  /** Logical segment id; 0 = nothing is stored: reads as zeros. */
  readonly segment: number
  /** Offset in the segment, in units of `SLOT_BYTES`. */
  readonly slot: number
  /** The update that wrote the block; in an interior entry the greatest below it; 0 = never written. */
  readonly birth: Lsn
  /** crc of the 4096 bytes pointed to. */
  readonly crc: number
}

/** Never written: reads as zeros. */
export const ENTRY_EMPTY: Entry = { segment: 0, slot: 0, birth: 0 as Lsn, crc: 0 }

/** An entry that stores nothing has neither slot nor crc. */
export function isValidEntry(entry: Entry): boolean {
  return entry.segment !== 0 || (entry.slot === 0 && entry.crc === 0)
}

export function isSameEntry(a: Entry, b: Entry): boolean {
  return a.segment === b.segment && a.slot === b.slot && a.birth === b.birth && a.crc === b.crc
}

/** The next 16 bytes, whatever they are: the page around them vouches for them, or `isValidEntry` is asked. */
export function readEntry(reader: ByteReader, field: string): Entry {
  return {
    segment: reader.u32(`${field}.segment`),
    slot: reader.u16(`${field}.slot`),
    birth: reader.u48(`${field}.birth`) as Lsn,
    crc: reader.u32(`${field}.crc`),
  }
}

/** The next 16 bytes; refuses an entry that is not valid with the error of the structure around it. */
export function readValidEntry(reader: ByteReader, field: string): Entry {
  const entry = readEntry(reader, field)
  if (!isValidEntry(entry)) reader.refuse(field, 'stores nothing, yet has a slot or a crc')
  return entry
}

export function writeEntry(writer: ByteWriter, entry: Entry): void {
  writer.u32(entry.segment).u16(entry.slot).u48(entry.birth).u32(entry.crc)
}

/** @throws {EntryCorruptError} not 16 bytes, or not a valid entry */
export function decodeEntry(bytes: Uint8Array): Entry {
  const reader = new ByteReader(bytes, 'entry', EntryCorruptError)
  const entry = readValidEntry(reader, 'entry')
  reader.end()
  return entry
}
