/**
 * Which segments to clean, and when: greedy, as in Rosenblum and Ousterhout's first policy. The segment with the fewest
 * live bytes gives the most room for the least copying. Pure: the table goes in, a plan comes out; `Cleaner` carries it
 * out.
 *
 * A dead segment (no live bytes) needs no cleaning: the next checkpoint frees it. Cleaning makes dead segments.
 */
import type { SegmentStatus, SegmentTable } from '@cloudfs/interface'

/** Below this part of the store free, beyond the reserve, cleaning starts. At least `FREE_LOW_SEGMENTS_MIN`. */
const FREE_LOW_PART = 0.05
/** Cleaning goes on until this part is free, so that it does not start and stop with every segment. */
const FREE_GOAL_PART = 0.1
const FREE_LOW_SEGMENTS_MIN = 2
/** Segments cleaned for one checkpoint at most. */
export const VICTIMS_MAX = 8
/** A segment with more than this part alive is not worth copying: the store is simply full. */
export const LIVE_PART_MAX = 0.95

/** What to do now; both empty = nothing. */
export interface CleaningPlan {
  /** Logical ids, in the order in which to clean them. */
  readonly victims: readonly number[]
  /** Whether a checkpoint afterwards frees anything. */
  readonly checkpoint: boolean
}

const NOTHING: CleaningPlan = { victims: [], checkpoint: false }

/**
 * @param table - the store's segments now
 * @param segmentBytes - their size
 * @param refused - logical ids that could not be cleaned before (a block of theirs is corrupt)
 */
export function planCleaning(
  table: SegmentTable,
  segmentBytes: number,
  refused: ReadonlySet<number> = new Set(),
): CleaningPlan {
  const total = table.segments.filter(({ state }) => state !== 'free').length + table.free
  const low = table.reserved + atLeast(total * FREE_LOW_PART)
  if (table.free > low) return NOTHING

  const goal = Math.max(low + 1, table.reserved + atLeast(total * FREE_GOAL_PART))
  const sealed = table.segments.filter(({ state, kind }) => state === 'sealed' && kind !== 'index')
  const dead = sealed.filter(({ liveBytes }) => liveBytes === 0).length
  const candidates = sealed
    .filter(
      ({ logical, liveBytes }) =>
        liveBytes > 0 && liveBytes <= segmentBytes * LIVE_PART_MAX && !refused.has(logical),
    )
    .sort((a, b) => a.liveBytes - b.liveBytes || a.firstSequence - b.firstSequence)
  const victims = choose(candidates, segmentBytes, goal - table.free - dead, table.free)
  return { victims, checkpoint: dead > 0 || victims.length > 0 }
}

/** Takes candidates until they give `wanted` segments, as long as what they hold alive fits into what is free. */
function choose(
  candidates: readonly SegmentStatus[],
  segmentBytes: number,
  wanted: number,
  free: number,
): number[] {
  const victims: number[] = []
  // Half of it: the checkpoint that follows takes segments too.
  let roomBytes = (free * segmentBytes) / 2
  let gainBytes = 0
  for (const { logical, liveBytes } of candidates) {
    if (gainBytes >= wanted * segmentBytes || victims.length === VICTIMS_MAX || liveBytes > roomBytes) break
    victims.push(logical)
    roomBytes -= liveBytes
    gainBytes += segmentBytes - liveBytes
  }
  return victims
}

function atLeast(segments: number): number {
  return Math.max(FREE_LOW_SEGMENTS_MIN, Math.ceil(segments))
}
