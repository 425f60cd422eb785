/**
 * Who has a volume attached, as its history says. A write by HTTP is a writer of its own: it is let in where others would
 * be who share.
 *
 * Once `attach` is answered, no write is begun that goes by what the record said before; and what was begun before is in
 * the core ahead of all that the new holder does.
 */
import { VolumeAttachedError, type VolumeHolder, type VolumeId } from '@cloudfs/interface'

/** What of a store this needs. @returns those in the volume's newest attach record */
type ReadHolders = (volume: VolumeId) => Promise<readonly VolumeHolder[]>

export class Holders {
  readonly #read: ReadHolders
  /** What was read, and holds until the record changes. */
  readonly #known = new Map<string, readonly VolumeHolder[]>()
  /** Changes under way: until they are done what is read may be old soon. */
  readonly #changing = new Map<string, number>()
  /** Counts the beginnings and ends of changes. */
  #changes = 0

  constructor(read: ReadHolders) {
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
      const read = await this.#read(volume)
      if (before !== this.#changes) continue
      if (!this.#changing.has(volume)) this.#known.set(volume, read)
      holders = read
    }
    requireShared(volume, holders)
    return begin()
  }

  /** Has a record made. */
  async change<Result>(volume: string, act: () => Promise<Result>): Promise<Result> {
    this.changed(volume)
    this.#changing.set(volume, (this.#changing.get(volume) ?? 0) + 1)
    try {
      return await act()
    } finally {
      const left = (this.#changing.get(volume) ?? 1) - 1
      if (left > 0) this.#changing.set(volume, left)
      else this.#changing.delete(volume)
      this.changed(volume)
    }
  }

  /** A record was made, here or by an earlier primary. */
  changed(volume: string): void {
    this.#changes++
    this.#known.delete(volume)
  }
}

function requireShared(volume: VolumeId, holders: readonly VolumeHolder[]): void {
  const holder = holders.find(({ isShared }) => !isShared)
  if (holder === undefined) return
  throw new VolumeAttachedError(`the volume is attached at host ${holder.host}, not shared`, {
    volume,
    holder: holder.host,
  })
}
