/** What trees and dead lists reach, and whether the segments' bitmaps say the same. */
import { BLOCK_BYTES, isCloudfsError, type Lsn } from '@cloudfs/interface'
import type { CheckpointNode } from '../checkpoint.js'
import { type Entry, isValidEntry } from '../entry.js'
import { blocksPerEntry, greatestBirth } from '../page.js'
import { isIndexSlot } from '../superblock.js'
import type { Findings } from './findings.js'
import { endOfLog, type OfflineStore } from './open-store.js'
import { REFERENCE_FINAL, REFERENCE_FROZEN, type References } from './references.js'
import { describePlace, type SegmentTable } from './segment-table.js'

/** A subtree to visit. */
interface Visit {
  readonly entry: Entry
  /** 0 = the entry points to a leaf. */
  readonly level: number
  /** First block below, if it is a map's. */
  readonly base: number | undefined
  /** Births up to this are somebody else's: not looked at. */
  readonly limit: Lsn
}

export class SpaceWalk {
  readonly #store: OfflineStore
  readonly #references: References
  readonly #findings: Findings
  readonly #seen = new Set<string>()
  /** Pages of maps and dead lists that were read. */
  pageCount = 0

  constructor(store: OfflineStore, references: References, findings: Findings) {
    this.#store = store
    this.#references = references
    this.#findings = findings
  }

  /** Everything the checkpoint names. */
  async walkFrozen(onPage: () => void): Promise<void> {
    for (const node of this.#store.checkpoint.nodes) {
      for (const visit of visitsOf(node)) await this.#walk(visit, node, onPage)
      for (const entry of node.deadTail)
        this.#refer(this.#store.frozenTable, entry, undefined, REFERENCE_FROZEN, node)
    }
  }

  /** What replay changed. The rest of the trees is the checkpoint's. */
  walkFinal(): void {
    for (const volume of this.#store.volumes.values()) {
      if (volume.isDeleted) continue
      for (const version of [volume, ...volume.snapshots.values()]) {
        for (const { block, entry } of version.map.changed()) {
          if (entry.segment !== 0)
            this.#refer(this.#store.table, entry, block, REFERENCE_FINAL, { volume: volume.id })
        }
      }
    }
  }

  /** Bitmaps against what was reached. Of records that were not applied the checkpoint counts no block: replay does. */
  compareBitmaps(): void {
    for (const segment of this.#store.frozenTable.segments.values()) {
      const { frozen, logical, physical, kind } = segment
      if (frozen === undefined || kind === 'index') continue
      const end = endOfLog(this.#store, segment)
      const references = this.#references.of(logical)
      for (let index = 0; index < references.length; index++) {
        const isLive = (((frozen.live[index >> 3] ?? 0) >> (index & 7)) & 1) === 1
        const isReached = (references.flagsAt(index) & REFERENCE_FROZEN) !== 0
        if (isLive === isReached) continue
        // A batch that a power cut took leaves its bits: recovery clears them.
        if (isLive && index * BLOCK_BYTES >= end) continue
        const place = { physical, logical, offset: index * BLOCK_BYTES }
        const where = `segment ${String(logical)}: the block at byte ${String(place.offset)}`
        if (isReached) this.#findings.add('ERR_SPACE_LOST', `${where} is in use and counted as free`, place)
        else
          this.#findings.add('ERR_SPACE_LEAKED', `${where} is counted as live, and nothing names it`, place)
      }
    }
  }

  async #walk(visit: Visit, node: CheckpointNode, onPage: () => void): Promise<void> {
    const { entry, level, base, limit } = visit
    if (entry.segment === 0 || entry.birth <= limit) return
    const key = `${String(entry.segment)}.${String(entry.slot)}.${String(level)}.${String(base)}.${String(limit)}`
    if (this.#seen.has(key)) return
    this.#seen.add(key)
    const children = await this.#read(entry, node)
    if (children === undefined) return
    this.pageCount++
    onPage()
    if (greatestBirth(children) > entry.birth) {
      this.#findings.add(
        'ERR_PAGE_CORRUPT',
        `the page at ${describePlace(entry)} holds births above its own`,
        {
          segment: entry.segment,
          slot: entry.slot,
          node: String(node.id),
        },
      )
    }
    const span = blocksPerEntry(level)
    for (const [index, child] of children.entries()) {
      const first = base === undefined ? undefined : base + index * span
      if (level > 0) await this.#walk({ entry: child, level: level - 1, base: first, limit }, node, onPage)
      else if (child.segment !== 0 && child.birth > limit) {
        this.#refer(this.#store.frozenTable, child, first, REFERENCE_FROZEN, node)
      }
    }
  }

  async #read(entry: Entry, node: CheckpointNode): Promise<Entry[] | undefined> {
    const details = { segment: entry.segment, slot: entry.slot, node: String(node.id), volume: node.volume }
    if (!isIndexSlot(entry.slot, this.#store.table.segmentBytes)) {
      this.#findings.add('ERR_ENTRY_CORRUPT', `no page can lie at ${describePlace(entry)}`, details)
      return undefined
    }
    try {
      return await this.#store.table.readPage(entry)
    } catch (error) {
      if (!isCloudfsError(error)) throw error
      this.#findings.add('ERR_PAGE_CORRUPT', error.message, details)
      return undefined
    }
  }

  #refer(
    table: SegmentTable,
    entry: Entry,
    block: number | undefined,
    flag: number,
    owner: { readonly volume: string },
  ): void {
    const details = { volume: owner.volume, ...(block !== undefined && { block }) }
    try {
      const place = table.resolve(entry)
      const segment = table.segments.get(place.segment)
      const why =
        !isValidEntry(entry) || segment === undefined || segment.kind === 'index'
          ? 'is in no segment that holds blocks'
          : this.#references.add(place, entry, block, flag)
      if (why === undefined) return
      const message = `the block at ${describePlace(place)} ${why}`
      this.#findings.add('ERR_REFERENCE_CORRUPT', message, {
        ...details,
        segment: place.segment,
        slot: place.slot,
      })
    } catch (error) {
      if (!isCloudfsError(error)) throw error
      this.#findings.add('ERR_REFERENCE_CORRUPT', error.message, {
        ...details,
        segment: entry.segment,
        slot: entry.slot,
      })
    }
  }
}

/** The trees of a node: its map and those it dropped. Of remains only births above its lsn count. */
function visitsOf(node: CheckpointNode): Visit[] {
  const limit = node.kind === 'remains' ? node.lsn : (0 as Lsn)
  const dropped = node.deadTrees.map(({ entry, level }) => ({ entry, level, base: undefined, limit }))
  if (node.height === 0) return dropped
  return [{ entry: node.root, level: node.height - 1, base: 0, limit }, ...dropped]
}
