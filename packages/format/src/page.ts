/** Map pages and dead-list pages: 256 entries, vouched for by the entry that points to them. */
import assert from 'node:assert'
import { EntryCorruptError, type Lsn, PAGE_BYTES, PAGE_ENTRIES } from '@cloudfs/interface'
import { ByteReader } from './byte-reader.js'
import { ByteWriter } from './byte-writer.js'
import { type Entry, readValidEntry, writeEntry } from './entry.js'

/** @param entries - exactly `PAGE_ENTRIES` */
export function encodePage(entries: readonly Entry[]): Uint8Array {
  assert(
    entries.length === PAGE_ENTRIES,
    `a page has ${String(PAGE_ENTRIES)} entries, not ${String(entries.length)}`,
  )
  const writer = new ByteWriter()
  for (const entry of entries) writeEntry(writer, entry)
  return writer.finish()
}

/** @throws {EntryCorruptError} not 4096 bytes, or one of the entries is not valid */
export function decodePage(bytes: Uint8Array): Entry[] {
  const reader = new ByteReader(bytes, 'page', EntryCorruptError)
  if (bytes.length !== PAGE_BYTES) reader.refuse('length', `is ${String(bytes.length)}`)
  return Array.from({ length: PAGE_ENTRIES }, (_, index) => readValidEntry(reader, `entry ${String(index)}`))
}

/** Blocks that an entry at a page of this level stands for: 1 at a leaf. */
export function blocksPerEntry(level: number): number {
  return PAGE_ENTRIES ** level
}

/** The greatest birth in a page: what the entry that points to it carries. */
export function greatestBirth(entries: readonly Entry[]): Lsn {
  return entries.reduce<Lsn>((greatest, entry) => (entry.birth > greatest ? entry.birth : greatest), 0 as Lsn)
}
