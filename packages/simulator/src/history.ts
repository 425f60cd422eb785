/**
 * What clients asked, when, and what they were told. `order` numbers count all beginnings and ends of a run, so of two
 * requests it is known whether one ended before the other began.
 */
import { UNITS_PER_BLOCK } from './contents.js'

/** A request that touched a range of units. */
export interface HistoryOp {
  readonly kind: 'write' | 'read'
  readonly client: number
  readonly firstUnit: number
  readonly unitCount: number
  /** Of a write: its name; 0 of one that zeroes. */
  readonly value: number
  readonly begun: number
  /** Infinity: it may have happened, or may yet. */
  ended: number
  /** From then on nothing may take it away. Infinity: a power cut may. */
  durable: number
  /** Of a write: it has happened by then, or never does. */
  lapses: number
  /** Of a read that ended: the writes that its units were of. */
  seen: readonly number[] | undefined
}

/** A part of a request: within one block, its units counted from the block's first. */
export interface BlockOp {
  readonly op: HistoryOp
  readonly first: number
  readonly count: number
  /** Of a read: the writes that these units were of. */
  readonly seen: readonly number[]
}

/** What was not durable may be gone. */
export interface Loss {
  readonly at: number
  /** Or, where a volume was forced, whatever is newer than the writes that these units were of. */
  readonly held?: readonly number[]
  readonly isForced?: boolean
}

export class History {
  readonly ops: HistoryOp[] = []
  /** When what was not durable may have been lost. */
  readonly losses: Loss[] = []
  readonly #flushed: { readonly begun: number; readonly ended: number }[] = []

  write(client: number, firstUnit: number, unitCount: number, value: number, begun: number): HistoryOp {
    return this.#add('write', client, firstUnit, unitCount, value, begun)
  }

  read(client: number, firstUnit: number, unitCount: number, begun: number): HistoryOp {
    return this.#add('read', client, firstUnit, unitCount, 0, begun)
  }

  /** A flush that began at `begun` was answered: all that was acknowledged before lasts. */
  flush(begun: number, ended: number): void {
    this.#flushed.push({ begun, ended })
  }

  /** What happened to each block, by when it began. Reads that told nothing are left out. */
  blocks(): Map<number, BlockOp[]> {
    this.#noteFlushes()
    const blocks = new Map<number, BlockOp[]>()
    for (const op of this.ops) {
      if (op.kind === 'read' && op.seen === undefined) continue
      const end = op.firstUnit + op.unitCount
      for (let unit = op.firstUnit; unit < end;) {
        const block = Math.floor(unit / UNITS_PER_BLOCK)
        const next = Math.min(end, (block + 1) * UNITS_PER_BLOCK)
        const seen = (op.seen ?? []).slice(unit - op.firstUnit, next - op.firstUnit)
        const part = { op, first: unit % UNITS_PER_BLOCK, count: next - unit, seen }
        const list = blocks.get(block)
        if (list === undefined) blocks.set(block, [part])
        else list.push(part)
        unit = next
      }
    }
    return blocks
  }

  #add(
    kind: 'write' | 'read',
    client: number,
    firstUnit: number,
    unitCount: number,
    value: number,
    begun: number,
  ): HistoryOp {
    const op: HistoryOp = {
      kind,
      client,
      firstUnit,
      unitCount,
      value,
      begun,
      ended: Infinity,
      durable: Infinity,
      lapses: Infinity,
      seen: undefined,
    }
    this.ops.push(op)
    return op
  }

  #noteFlushes(): void {
    const flushes = this.#flushed.toSorted((a, b) => a.ended - b.ended)
    for (const op of this.ops) {
      if (op.kind !== 'write' || op.ended === Infinity) continue
      const first = flushes.find(({ begun }) => begun > op.ended)
      // What was lost before is not brought back by a flush.
      const isLost = this.losses.some(({ at }) => at > op.ended && at < (first?.ended ?? 0))
      if (first !== undefined && !isLost) op.durable = Math.min(op.durable, first.ended)
    }
  }
}
