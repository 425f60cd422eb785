/**
 * Who has a volume attached, as its replicator keeps it in the store. A write by HTTP is a writer of its own: it is let in
 * where others would be who share.
 *
 * Once the replicator has the answer to its `put-local`, no write is begun that goes by what stood there before; and what
 * was begun before is in the core ahead of all that the new holder does.
 */
import { LOCAL_KINDS } from '@cloudfs/format'
import { hexToBytes, VolumeAttachedError, type VolumeId } from '@cloudfs/interface'
import { z } from 'zod'

const ATTACHMENT_KIND = LOCAL_KINDS.indexOf('attachment')

/** What of the item counts here; no bytes: not attached. */
const item = z.object({ holders: z.array(z.object({ host: z.string(), isShared: z.boolean() })) })
type Holder = z.output<typeof item>['holders'][number]

/** What of a store this needs. @returns the item in hex, or null */
type ReadItem = (volume: VolumeId, kind: number) => Promise<string | null>

export class Holders {
  readonly #read: ReadItem
  /** What was read, and holds until something is put. */
  readonly #known = new Map<string, readonly Holder[]>()
  /** Puts under way: until they are done what is read may be old soon. */
  readonly #putting = new Map<string, number>()
  /** Counts the beginnings and ends of puts. */
  #changes = 0

  constructor(read: ReadItem) {
    this.#read = read
  }

  /**
   * Begins a write, in the same step in which the volume is found free.
   *
   * @throws {VolumeAttachedError} a host has it that does not share it
   */
  async enter<Result>(volume: VolumeId, begin: () => Promise<Result>): Promise<Result> {
    let holders = this.#known.get(volume)
    while (holders === undefined) {
      const before = this.#changes
      const read = parse(await this.#read(volume, ATTACHMENT_KIND))
      if (before !== this.#changes) continue
      if (!this.#putting.has(volume)) this.#known.set(volume, read)
      holders = read
    }
    requireShared(volume, holders)
    return begin()
  }

  /** Puts a local item. */
  async put<Result>(volume: string, kind: number, act: () => Promise<Result>): Promise<Result> {
    if (kind !== ATTACHMENT_KIND) return act()
    this.#changes++
    this.#known.delete(volume)
    this.#putting.set(volume, (this.#putting.get(volume) ?? 0) + 1)
    try {
      return await act()
    } finally {
      const left = (this.#putting.get(volume) ?? 1) - 1
      if (left > 0) this.#putting.set(volume, left)
      else this.#putting.delete(volume)
      this.#changes++
      this.#known.delete(volume)
    }
  }
}

function requireShared(volume: VolumeId, holders: readonly Holder[]): void {
  const holder = holders.find(({ isShared }) => !isShared)
  if (holder === undefined) return
  throw new VolumeAttachedError(`the volume is attached at host ${holder.host}, not shared`, {
    volume,
    holder: holder.host,
  })
}

function parse(bytes: string | null): readonly Holder[] {
  if (bytes === null || bytes === '') return []
  return item.parse(JSON.parse(Buffer.from(hexToBytes(bytes)).toString('utf8'))).holders
}
