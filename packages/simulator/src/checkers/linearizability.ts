/**
 * Does every block behave as one register of eight units: as if each request took effect at one moment between its beginning
 * and its end? A request without an answer may take effect at any moment behind its beginning, or never.
 *
 * Method (Wing and Gong, with Lowe's laziness): beginnings and ends are gone through in order; kept are all states that the
 * block can be in, each with the requests under way that have taken effect already. Where a request ends that has not, it
 * must now, perhaps behind others that are under way. Reads change nothing, so each takes effect as soon as it can. That
 * writes have names of their own keeps the states few.
 *
 * A power cut may lose what was acknowledged and is not durable (`losses`): behind it each unit may hold any write that no
 * durable write followed. Which, the first read tells. Where a volume is forced (`Loss`), what was durable may go, too.
 */
import { nameOf, UNITS_PER_BLOCK } from '../contents.js'
import type { BlockOp, History, Loss } from '../history.js'

/** Past this many states of a block at once the check gives up, which fails the run. */
const STATES_MAX = 20_000

/** What cannot be, in words. */
export interface Fault {
  readonly what: string
  readonly story: readonly string[]
}

interface State {
  /** The write that each unit is of; below 0: any of a set. */
  readonly units: readonly number[]
  /** Under way, and in effect. */
  readonly done: ReadonlySet<BlockOp>
}

export function findFault(history: History): Fault | undefined {
  for (const [block, ops] of [...history.blocks()].toSorted(([a], [b]) => a - b)) {
    const fault = new BlockCheck(block, ops, history.losses).run()
    if (fault !== undefined) return fault
  }
  return undefined
}

class BlockCheck {
  readonly #block: number
  readonly #ops: readonly BlockOp[]
  readonly #losses: readonly Loss[]
  #states: State[] = [{ units: Array.from({ length: UNITS_PER_BLOCK }, () => 0), done: new Set() }]
  readonly #open = new Set<BlockOp>()
  readonly #sets: ReadonlySet<number>[] = []
  /** Under way when something was lost: what they did may be lost with it, though they were answered later. */
  readonly #excused = new Set<BlockOp>()

  constructor(block: number, ops: readonly BlockOp[], losses: readonly Loss[]) {
    this.#block = block
    // One that nobody saw, and that is answered to nobody, need not have happened.
    const seen = new Set(ops.flatMap(({ op }) => op.seen ?? []))
    this.#ops = ops.filter(({ op }) => op.kind === 'read' || op.ended < Infinity || seen.has(op.value))
    this.#losses = losses
  }

  run(): Fault | undefined {
    const events: { at: number; part?: BlockOp; loss?: Loss; what: 'begin' | 'end' | 'lapse' | 'loss' }[] = []
    for (const part of this.#ops) {
      const { begun, ended, lapses } = part.op
      events.push({ at: begun, part, what: 'begin' })
      if (ended < Infinity) events.push({ at: ended, part, what: 'end' })
      if (lapses < ended) events.push({ at: lapses, part, what: 'lapse' })
    }
    for (const loss of this.#losses) events.push({ at: loss.at, loss, what: 'loss' })
    events.sort((a, b) => a.at - b.at)
    for (const { at, part, loss, what } of events) {
      if (loss !== undefined) this.#lose(loss)
      else if (part === undefined) continue
      else if (what === 'begin') this.#begin(part)
      else if (what === 'lapse' ? !this.#lapse(part) : !this.#end(part)) return this.#fault(part)
      if (this.#states.length > STATES_MAX)
        return { what: `block ${String(this.#block)}: too many states to tell`, story: this.#story(at) }
    }
    return undefined
  }

  #begin(part: BlockOp): void {
    this.#open.add(part)
    if (part.op.kind === 'read') this.#states = unique(this.#states.flatMap((state) => this.#read(state)))
  }

  /** @returns whether it can have happened */
  #end(part: BlockOp): boolean {
    if (this.#excused.has(part)) return this.#forget(part)
    this.#states = unique(this.#after(part).map((state) => without(state, part)))
    this.#open.delete(part)
    return this.#states.length > 0
  }

  /** From here on it takes no effect. @returns whether that can be */
  #lapse(part: BlockOp): boolean {
    if (this.#excused.has(part)) return true
    const after = this.#after(part)
    // It is answered yet: it has happened.
    if (part.op.ended < Infinity) {
      this.#states = unique(after)
      return after.length > 0
    }
    const before = this.#states.filter((state) => !state.done.has(part))
    this.#states = unique([...after.map((state) => without(state, part)), ...before])
    this.#open.delete(part)
    return true
  }

  /** All states in which it has taken effect by now, perhaps behind others. */
  #after(part: BlockOp): State[] {
    const reached: State[] = []
    const queue = [...this.#states]
    const known = new Set<string>()
    for (let at = 0; at < queue.length && queue.length <= STATES_MAX; at++) {
      const state = queue[at] as State
      if (state.done.has(part)) {
        reached.push(state)
        continue
      }
      for (const next of this.#open) {
        if (next.op.kind === 'read' || state.done.has(next)) continue
        for (const after of this.#read(this.#write(state, next))) {
          const key = keyOf(after)
          if (known.has(key)) continue
          known.add(key)
          queue.push(after)
        }
      }
    }
    return reached
  }

  #forget(part: BlockOp): true {
    this.#open.delete(part)
    this.#states = unique(this.#states.map((state) => without(state, part)))
    return true
  }

  #write(state: State, part: BlockOp): State {
    const units = [...state.units]
    units.fill(part.op.value, part.first, part.first + part.count)
    return { units, done: new Set(state.done).add(part) }
  }

  /** Every read under way that this state fits takes effect; where the state is open, that may settle it, or not. */
  #read(state: State): State[] {
    let states = [state]
    for (const part of this.#open) {
      if (part.op.kind !== 'read') continue
      states = states.flatMap((one) => {
        if (one.done.has(part)) return [one]
        const settled = this.#settle(one, part)
        if (settled === undefined) return [one]
        const after = { units: settled, done: new Set(one.done).add(part) }
        return settled === one.units ? [after] : [one, after]
      })
    }
    return states
  }

  /** The units once the read has been made of them; undefined: it cannot be. */
  #settle(state: State, part: BlockOp): readonly number[] | undefined {
    let units: number[] | undefined
    for (let index = 0; index < part.count; index++) {
      const held = state.units[part.first + index] as number
      const value = part.seen[index] as number
      if (held === value) continue
      if (held >= 0 || this.#sets[-held - 1]?.has(value) !== true) return undefined
      units ??= [...state.units]
      units[part.first + index] = value
    }
    return units ?? state.units
  }

  #lose({ at, held, isForced = false }: Loss): void {
    const units = Array.from({ length: UNITS_PER_BLOCK }, (_, unit) => {
      const writes = this.#ops.filter(
        ({ op, first, count }) =>
          op.kind === 'write' && op.begun < at && unit >= first && unit < first + count,
      )
      const value = held?.[this.#block * UNITS_PER_BLOCK + unit] ?? 0
      const lasting = writes.filter(({ op }) =>
        isForced ? value !== 0 && op.value === value : op.durable < at,
      )
      const last = Math.max(-1, ...lasting.map(({ op }) => op.begun))
      const values = new Set(writes.filter(({ op }) => op.ended > last).map(({ op }) => op.value))
      if (last < 0) values.add(0)
      this.#sets.push(values)
      return -this.#sets.length
    })
    for (const part of this.#open) if (part.op.ended < Infinity) this.#excused.add(part)
    this.#states = unique(this.#read({ units, done: new Set() }))
  }

  #fault(part: BlockOp): Fault {
    const { op } = part
    const what =
      op.kind === 'read'
        ? `block ${String(this.#block)}: client ${String(op.client)} read ${namesOf(part.seen)}, which cannot be`
        : `block ${String(this.#block)}: write ${nameOf(op.value)} cannot have happened where it was acknowledged`
    return { what, story: this.#story(op.ended) }
  }

  /** What happened to the block until then, the newest last. */
  #story(until: number): string[] {
    return this.#ops
      .filter(({ op }) => op.begun <= until)
      .slice(-40)
      .map((part) => {
        const { op } = part
        const range = `units ${String(part.first)}-${String(part.first + part.count - 1)}`
        const what = op.kind === 'read' ? `read ${namesOf(part.seen)}` : `write ${nameOf(op.value)}`
        const durable =
          op.kind === 'write' && op.durable < Infinity ? `, durable at ${String(op.durable)}` : ''
        return `[${String(op.begun)}, ${op.ended === Infinity ? '?' : String(op.ended)}] client ${String(op.client)} ${range}: ${what}${durable}`
      })
  }
}

function without({ units, done }: State, part: BlockOp): State {
  return { units, done: new Set([...done].filter((one) => one !== part)) }
}

function namesOf(ids: readonly number[]): string {
  const names = ids.map(nameOf)
  return new Set(names).size === 1 ? (names[0] ?? '') : names.join(' ')
}

function keyOf(state: State): string {
  const done = [...state.done].map(({ op }) => op.begun).toSorted((a, b) => a - b)
  return `${state.units.join(',')}|${done.join(',')}`
}

/** Each once; of states that differ in what never ends, those that leave most of it to come. */
function unique(states: readonly State[]): State[] {
  const byKey = new Map(states.map((state) => [keyOf(state), state]))
  if (byKey.size === 1) return [...byKey.values()]
  const groups = new Map<string, State[]>()
  for (const state of byKey.values()) {
    const ends = [...state.done].filter(({ op }) => op.ended < Infinity)
    const key = keyOf({ units: state.units, done: new Set(ends) })
    const group = groups.get(key) ?? []
    if (group.some((other) => isWithin(other.done, state.done))) continue
    groups.set(key, [...group.filter((other) => !isWithin(state.done, other.done)), state])
  }
  return [...groups.values()].flat()
}

function isWithin(a: ReadonlySet<BlockOp>, b: ReadonlySet<BlockOp>): boolean {
  for (const part of a) if (!b.has(part)) return false
  return true
}
