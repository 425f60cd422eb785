/**
 * An extent map: a copy-on-write tree of entries, read from the store page by page and changed in memory alone
 * (docs/core.md, The map). Trees share the nodes they have in common; a fork costs one reference.
 */
import assert from 'node:assert'
import { type Lsn, PAGE_ENTRIES } from '@cloudfs/interface'
import { ENTRY_EMPTY, type Entry } from '../entry.js'
import { blocksPerEntry } from '../page.js'

/** Reads the page an entry points to. */
export type PageReader = (entry: Entry) => Promise<readonly Entry[]>

/** A node in memory; only its owner may change it. */
interface MapNode {
  owner: object
  readonly children: (Entry | MapNode)[]
}

/** Blocks that one entry stands for. */
export interface MappedRange {
  readonly block: number
  readonly count: number
  readonly entry: Entry
}

export class MapTree {
  readonly #readPage: PageReader
  #root: Entry | MapNode
  #height: number
  #owner: object = {}

  /** @param height - 1 = the root is a leaf */
  constructor(readPage: PageReader, root: Entry = ENTRY_EMPTY, height = 1) {
    assert(height >= 1, 'a map has a leaf')
    this.#readPage = readPage
    this.#root = root
    this.#height = height
  }

  /** An independent tree of the same contents. */
  fork(): MapTree {
    const copy = new MapTree(this.#readPage, ENTRY_EMPTY, this.#height)
    copy.#root = this.#root
    this.#owner = {}
    return copy
  }

  /** Blocks that the tree has room for. */
  get capacity(): number {
    return blocksPerEntry(this.#height)
  }

  /** Makes room for `blocks` blocks. */
  grow(blocks: number): void {
    while (this.capacity < blocks) {
      const children: (Entry | MapNode)[] = Array.from({ length: PAGE_ENTRIES }, () => ENTRY_EMPTY)
      children[0] = this.#root
      this.#root = { owner: this.#owner, children }
      this.#height++
    }
  }

  async lookup(block: number): Promise<Entry> {
    let node = this.#root
    for (let level = this.#height - 1; level >= 0; level--) {
      if (!isNode(node) && node.segment === 0) return node
      const children = isNode(node) ? node.children : await this.#readPage(node)
      node = children[Math.floor(block / blocksPerEntry(level)) % PAGE_ENTRIES] as Entry | MapNode
    }
    assert(!isNode(node), 'a leaf holds entries')
    return node
  }

  async write(block: number, entry: Entry): Promise<void> {
    assert(block < this.capacity, 'a block written is inside the map')
    await this.#replace(block, block + 1, entry)
  }

  /** Sets whole subtrees without reading them. */
  async zero(first: number, count: number, birth: Lsn): Promise<void> {
    await this.#replace(first, Math.min(first + count, this.capacity), { ...ENTRY_EMPTY, birth })
  }

  /** What lies in [start, end): stored blocks one by one, holes as far as one entry tells of them. */
  async *ranges(start: number, end: number): AsyncGenerator<MappedRange> {
    yield* this.#walk(this.#root, this.#height - 1, 0, start, Math.min(end, this.capacity))
    if (end > Math.max(start, this.capacity)) {
      const from = Math.max(start, this.capacity)
      yield { block: from, count: end - from, entry: ENTRY_EMPTY }
    }
  }

  /** Entries of the leaves that are in memory, for these are not on disk; subtrees on disk are passed over. */
  *changed(): Generator<{ block: number; entry: Entry }> {
    yield* this.#walkChanged(this.#root, this.#height - 1, 0)
  }

  async #replace(start: number, end: number, entry: Entry): Promise<void> {
    if (start >= end) return
    if (start === 0 && end === this.capacity && entry.segment === 0) {
      this.#root = entry
      return
    }
    this.#root = await this.#replaceBelow(this.#root, this.#height - 1, 0, start, end, entry)
  }

  /** The node with [start, end) replaced; `base` is the first block it stands for. */
  async #replaceBelow(
    node: Entry | MapNode,
    level: number,
    base: number,
    start: number,
    end: number,
    entry: Entry,
  ): Promise<MapNode> {
    const own = await this.#own(node)
    const span = blocksPerEntry(level)
    const first = Math.max(0, Math.floor((start - base) / span))
    const last = Math.min(PAGE_ENTRIES, Math.ceil((end - base) / span))
    for (let index = first; index < last; index++) {
      const from = base + index * span
      const isWhole = start <= from && from + span <= end
      own.children[index] = isWhole
        ? entry
        : await this.#replaceBelow(own.children[index] as Entry | MapNode, level - 1, from, start, end, entry)
    }
    return own
  }

  async #own(node: Entry | MapNode): Promise<MapNode> {
    if (isNode(node)) {
      return node.owner === this.#owner ? node : { owner: this.#owner, children: [...node.children] }
    }
    const children =
      node.segment === 0
        ? Array.from({ length: PAGE_ENTRIES }, () => node)
        : [...(await this.#readPage(node))]
    return { owner: this.#owner, children }
  }

  async *#walk(
    node: Entry | MapNode,
    level: number,
    base: number,
    start: number,
    end: number,
  ): AsyncGenerator<MappedRange> {
    const reach = base + blocksPerEntry(level + 1)
    if (end <= base || reach <= start) return
    if (!isNode(node) && node.segment === 0) {
      const from = Math.max(base, start)
      yield { block: from, count: Math.min(reach, end) - from, entry: node }
      return
    }
    const children = isNode(node) ? node.children : await this.#readPage(node)
    const span = blocksPerEntry(level)
    const first = Math.max(0, Math.floor((start - base) / span))
    const last = Math.min(PAGE_ENTRIES, Math.ceil((end - base) / span))
    for (let index = first; index < last; index++) {
      const child = children[index] as Entry | MapNode
      if (level > 0) yield* this.#walk(child, level - 1, base + index * span, start, end)
      else yield { block: base + index, count: 1, entry: child as Entry }
    }
  }

  *#walkChanged(
    node: Entry | MapNode,
    level: number,
    base: number,
  ): Generator<{ block: number; entry: Entry }> {
    if (!isNode(node)) return
    const span = blocksPerEntry(level)
    for (const [index, child] of node.children.entries()) {
      if (level > 0) yield* this.#walkChanged(child, level - 1, base + index * span)
      else yield { block: base + index, entry: child as Entry }
    }
  }
}

function isNode(value: Entry | MapNode): value is MapNode {
  return 'children' in value
}
