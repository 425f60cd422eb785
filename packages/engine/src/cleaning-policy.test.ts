import type { SegmentStatus, SegmentTable } from '@cloudfs/interface'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LIVE_PART_MAX, planCleaning, VICTIMS_MAX } from './cleaning-policy.js'

const MIB = 1024 * 1024
const SEGMENT_BYTES = 4 * MIB

function segment(logical: number, liveBytes: number, more: Partial<SegmentStatus> = {}): SegmentStatus {
  return {
    logical,
    physical: logical,
    kind: 'user',
    state: 'sealed',
    usedBytes: SEGMENT_BYTES,
    liveBytes,
    firstSequence: logical,
    ...more,
  }
}

function table(free: number, segments: SegmentStatus[]): SegmentTable {
  return { segments, free, reserved: 4 }
}

const many = (count: number, liveBytes: number): SegmentStatus[] =>
  Array.from({ length: count }, (_, index) => segment(index + 1, liveBytes))

test('nothing is cleaned while there is room', () => {
  expect(planCleaning(table(50, many(50, MIB)), SEGMENT_BYTES)).toEqual({ victims: [], checkpoint: false })
})

test('dead segments are freed by a checkpoint, and not copied', () => {
  const plan = planCleaning(
    table(6, [...many(20, 3 * MIB), segment(30, 0), segment(31, 0), segment(32, 0)]),
    SEGMENT_BYTES,
  )
  expect(plan.checkpoint).toBe(true)
  expect(plan.victims).not.toContain(30)
})

test('the emptiest segments go first, the older of two alike before the newer', () => {
  const segments = [segment(1, 3 * MIB), segment(2, MIB), segment(3, 2 * MIB), segment(4, MIB)]
  const { victims } = planCleaning(table(4, segments), SEGMENT_BYTES)
  expect(victims.slice(0, 3)).toEqual([2, 4, 3])
})

test('the open segment, index segments and those that refused before are left alone', () => {
  const segments = [
    segment(1, MIB, { state: 'open' }),
    segment(2, MIB, { kind: 'index' }),
    segment(3, MIB),
    segment(4, MIB, { kind: 'moved' }),
  ]
  expect(planCleaning(table(4, segments), SEGMENT_BYTES, new Set([3])).victims).toEqual([4])
})

test('a store that is simply full is not churned', () => {
  expect(planCleaning(table(4, many(100, 0.97 * SEGMENT_BYTES)), SEGMENT_BYTES)).toEqual({
    victims: [],
    checkpoint: false,
  })
})

test('what a plan copies fits into half of what is free, and only worthwhile segments are in it', () => {
  const anySegment = fc.record({
    liveBytes: fc.integer({ min: 0, max: SEGMENT_BYTES }),
    state: fc.constantFrom('open' as const, 'sealed' as const),
    kind: fc.constantFrom('user' as const, 'moved' as const, 'index' as const),
  })
  fc.assert(
    fc.property(fc.array(anySegment, { maxLength: 60 }), fc.integer({ min: 0, max: 20 }), (drawn, free) => {
      const segments = drawn.map(({ liveBytes, ...rest }, index) => segment(index + 1, liveBytes, rest))
      const { victims, checkpoint } = planCleaning(table(free, segments), SEGMENT_BYTES)
      const chosen = victims.map((logical) => segments[logical - 1]!)
      expect(new Set(victims).size).toBe(victims.length)
      expect(victims.length).toBeLessThanOrEqual(VICTIMS_MAX)
      expect(chosen.reduce((sum, { liveBytes }) => sum + liveBytes, 0)).toBeLessThanOrEqual(
        (free * SEGMENT_BYTES) / 2,
      )
      for (const { state, kind, liveBytes } of chosen) {
        expect([state, kind === 'index', liveBytes > 0]).toEqual(['sealed', false, true])
        expect(liveBytes).toBeLessThanOrEqual(LIVE_PART_MAX * SEGMENT_BYTES)
      }
      if (victims.length > 0) expect(checkpoint).toBe(true)
    }),
  )
})
