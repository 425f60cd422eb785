import { StoreId, VolumeId, type VolumeStatus } from '@cloudfs/interface'
import { expect, test } from 'vitest'
import { CatchUp, etaSecondsOf, type Lack, lackAfter } from './catch-up.js'

const after = (steps: readonly (readonly [atMs: number, behindBytes: number])[]): Lack | undefined =>
  steps.reduce<Lack | undefined>((lack, [atMs, behindBytes]) => lackAfter(lack, atMs, behindBytes), undefined)

test('a rate takes two looks, and a steady one is found exactly', () => {
  expect(after([[0, 1_000]])?.bytesPerSecond).toBeUndefined()
  expect(
    after([
      [0, 1_000],
      [1_000, 900],
    ])?.bytesPerSecond,
  ).toBe(100)
  expect(
    after([
      [0, 1_000],
      [1_000, 900],
      [3_000, 700],
      [9_000, 100],
    ])?.bytesPerSecond,
  ).toBeCloseTo(100)
})

test('looks in quick succession are one look', () => {
  expect(
    after([
      [0, 1_000],
      [10, 1_000],
      [20, 990],
      [1_000, 900],
    ])?.bytesPerSecond,
  ).toBe(100)
})

test('a rate follows what changes, and one pause does not make it nothing', () => {
  const steady = [
    [0, 10_000],
    [1_000, 9_900],
  ] as const
  const paused = after([...steady, [4_000, 9_900]])?.bytesPerSecond ?? 0
  expect(paused).toBeGreaterThan(50)
  expect(paused).toBeLessThan(100)
  expect(after([...steady, [121_000, 9_900]])?.bytesPerSecond).toBeCloseTo(0, 0)
})

test('how long it takes is said only where it comes to an end', () => {
  expect(etaSecondsOf(1_000, 100)).toBe(10)
  expect(etaSecondsOf(1_001, 100)).toBe(11)
  expect(etaSecondsOf(1_000, undefined)).toBeUndefined()
  expect(etaSecondsOf(1_000, 0)).toBeUndefined()
  expect(
    etaSecondsOf(
      1_000,
      after([
        [0, 900],
        [1_000, 1_000],
      ])?.bytesPerSecond,
    ),
  ).toBeUndefined()
  expect(etaSecondsOf(2 ** 50, 1)).toBeUndefined()
})

test('only replicas that are behind a primary here have a rate, for as long as they are', () => {
  const volume = VolumeId.parse('11'.repeat(20))
  const store = StoreId.parse('22'.repeat(20))
  const status = (state: string, behindBytes: number): VolumeStatus =>
    ({ volume, role: 'primary', members: [{ store, state, behindBytes }] }) as unknown as VolumeStatus
  const catchUp = new CatchUp()
  catchUp.look([status('behind', 3_000)], 0)
  expect(catchUp.rateOf(volume, store)).toBeUndefined()
  catchUp.look([status('behind', 1_000)], 1_000)
  expect(catchUp.rateOf(volume, store)).toBe(2_000)
  catchUp.look([status('in-step', 0)], 2_000)
  expect(catchUp.rateOf(volume, store)).toBeUndefined()
  catchUp.look([status('behind', 1_000)], 3_000)
  catchUp.look([status('behind', 2_000)], 4_000)
  expect(catchUp.rateOf(volume, store)).toBe(0)
})
