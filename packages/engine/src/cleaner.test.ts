import type { SegmentStatus, SegmentTable } from '@cloudfs/interface'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { Cleaner, type CleanerOptions } from './cleaner.js'

const SEGMENT_BYTES = 1024 * 1024
const log = pino({ level: 'silent' })

/** A store's segments, cleaned and checkpointed by the rules of docs/core.md. */
class SegmentModel {
  free: number
  readonly calls: string[] = []
  readonly corrupt = new Set<number>()
  #segments: SegmentStatus[]
  #next: number

  constructor(free: number, liveParts: number[]) {
    this.free = free
    this.#next = liveParts.length + 1
    this.#segments = liveParts.map((part, index) => this.#sealed(index + 1, part * SEGMENT_BYTES))
  }

  readonly command = (async (verb: string, args: { logical?: number }): Promise<unknown> => {
    this.calls.push(args.logical === undefined ? verb : `${verb} ${String(args.logical)}`)
    await Promise.resolve()
    if (verb === 'segments') return this.#table()
    if (verb === 'clean') return this.#clean(args.logical!)
    const dead = this.#segments.filter(({ liveBytes }) => liveBytes === 0).length
    this.#segments = this.#segments.filter(({ liveBytes }) => liveBytes > 0)
    this.free += dead
    return { sequence: 1 }
  }) as CleanerOptions['command']

  #table(): SegmentTable {
    return { segments: this.#segments, free: this.free, reserved: 4 }
  }

  #clean(logical: number): { movedBytes: number } {
    if (this.corrupt.has(logical)) throw new Error('ERR_BLOCK_CORRUPT')
    const victim = this.#segments.find((segment) => segment.logical === logical)!
    this.#segments = this.#segments.filter((segment) => segment !== victim)
    this.#segments.push({ ...victim, liveBytes: 0 }, this.#sealed(this.#next++, victim.liveBytes))
    this.free -= victim.liveBytes / SEGMENT_BYTES
    return { movedBytes: victim.liveBytes }
  }

  #sealed(logical: number, liveBytes: number): SegmentStatus {
    const state = 'sealed' as const
    return {
      logical,
      physical: logical,
      kind: 'user',
      state,
      usedBytes: SEGMENT_BYTES,
      liveBytes,
      firstSequence: logical,
    }
  }
}

function cleanerOf(model: SegmentModel, later?: CleanerOptions['later']): Cleaner {
  return new Cleaner({
    command: model.command,
    segmentBytes: SEGMENT_BYTES,
    log,
    ...(later === undefined ? {} : { later }),
  })
}

async function settled(model: SegmentModel): Promise<void> {
  for (let before = -1; before !== model.calls.length;) {
    before = model.calls.length
    for (let i = 0; i < 20; i++) await Promise.resolve()
  }
}

test('low space is cleaned until the goal is free, and then it rests', async () => {
  const model = new SegmentModel(
    5,
    Array.from({ length: 60 }, () => 0.5),
  )
  const cleaner = cleanerOf(model)
  cleaner.onEvent({ name: 'space-low', detail: { free: 5 } })
  await settled(model)
  expect(model.free).toBeGreaterThanOrEqual(8)
  const calls = model.calls.length
  await settled(model)
  expect(model.calls.length).toBe(calls)
  await cleaner.close()
})

test('a segment that cannot be cleaned is left, and others are taken', async () => {
  const model = new SegmentModel(5, [0.1, 0.2, 0.3, ...Array.from({ length: 40 }, () => 0.5)])
  model.corrupt.add(1)
  const cleaner = cleanerOf(model)
  cleaner.onEvent({ name: 'space-low', detail: { free: 5 } })
  await settled(model)
  expect(model.calls.filter((call) => call === 'clean 1')).toHaveLength(1)
  expect(model.free).toBeGreaterThanOrEqual(8)
  await cleaner.close()
})

test('a full store is looked at once for each event, not in a loop', async () => {
  const model = new SegmentModel(
    4,
    Array.from({ length: 40 }, () => 0.99),
  )
  const cleaner = cleanerOf(model)
  cleaner.onEvent({ name: 'space-low', detail: { free: 4 } })
  await settled(model)
  expect(model.calls).toEqual(['segments'])
  await cleaner.close()
})

test('what was refused is tried again later, ever more seldom, though nothing happens in between', async () => {
  const model = new SegmentModel(5, [0.1, ...Array.from({ length: 40 }, () => 0.99)])
  model.corrupt.add(1)
  const timers: { readonly ms: number; readonly then: () => void }[] = []
  const cleaner = cleanerOf(model, (ms, then) => {
    timers.push({ ms, then })
    return () => undefined
  })
  cleaner.onEvent({ name: 'space-low', detail: { free: 5 } })
  await settled(model)
  timers[0]!.then()
  await settled(model)
  expect(model.calls.filter((call) => call === 'clean 1')).toHaveLength(2)
  model.corrupt.clear()
  timers[1]!.then()
  await settled(model)
  expect(model.calls.filter((call) => call === 'clean 1')).toHaveLength(3)
  expect(model.free).toBeGreaterThan(5)
  expect(timers.map(({ ms }) => ms)).toEqual([1_000, 2_000])
  await cleaner.close()
})

test('many sealed segments make one look', async () => {
  const model = new SegmentModel(50, [])
  const timers: (() => void)[] = []
  const cleaner = cleanerOf(model, (_ms, then) => {
    timers.push(then)
    return () => undefined
  })
  for (let logical = 1; logical < 10; logical++) {
    cleaner.onEvent({ name: 'segment-sealed', detail: { logical } })
  }
  expect(timers).toHaveLength(1)
  timers[0]!()
  await settled(model)
  expect(model.calls).toEqual(['segments'])
  await cleaner.close()
})

test('nothing starts once it is closed', async () => {
  const model = new SegmentModel(4, [0.1])
  const cleaner = cleanerOf(model)
  await cleaner.close()
  cleaner.onEvent({ name: 'space-low', detail: { free: 4 } })
  cleaner.onEvent({ name: 'segment-sealed', detail: { logical: 1 } })
  await settled(model)
  expect(model.calls).toEqual([])
})
