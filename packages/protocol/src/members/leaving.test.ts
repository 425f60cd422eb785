import { type Epoch, HostId, StoreId } from '@cloudfs/interface'
import { expect, test } from 'vitest'
import { mayDrop, type Settled } from './leaving.js'

const hostOf = (index: number): HostId => HostId.parse(`1${String(index)}`.repeat(20))
const storeOf = (index: number): StoreId => StoreId.parse(`a${String(index)}`.repeat(20))
const epochOf = (counter: number): Epoch => ({ counter, host: hostOf(0) })

const set = (counter: number, data: readonly number[], learner?: number): Settled => ({
  epoch: epochOf(counter),
  members: [
    ...data.map((index) => ({ host: hostOf(index), store: storeOf(index), role: 'data' as const })),
    ...(learner === undefined
      ? []
      : [{ host: hostOf(learner), store: storeOf(learner), role: 'learner' as const }]),
  ],
})
const own = (promised: number, index = 2) => ({
  host: hostOf(index),
  store: storeOf(index),
  promised: epochOf(promised),
})
const said = (...answers: readonly (readonly [number, Settled])[]): Map<HostId, Settled> =>
  new Map(answers.map(([index, answer]) => [hostOf(index), answer]))

test('a replica goes when a majority of the new set knows the set without it', () => {
  const next = set(5, [0, 1, 3])
  expect(mayDrop(own(5), next, said([0, next]))).toBe(false)
  expect(mayDrop(own(5), next, said([0, next], [1, set(4, [0, 1, 2], 3)]))).toBe(false)
  expect(mayDrop(own(5), next, said([0, next], [3, next]))).toBe(true)
  // Who knows a later one knows this one too.
  expect(mayDrop(own(5), next, said([0, next], [1, set(6, [0, 1, 3])]))).toBe(true)
})

test('a member stays, and who learns does, though it has no vote', () => {
  const all = (answer: Settled) => said([0, answer], [1, answer], [3, answer])
  const member = set(5, [0, 1, 2])
  expect(mayDrop(own(5), member, all(member))).toBe(false)
  const learner = set(5, [0, 1, 3], 2)
  expect(mayDrop(own(5), learner, all(learner))).toBe(false)
})

test('who was promised a later epoch may be taking this store in', () => {
  const before = set(4, [0, 1, 3])
  expect(mayDrop(own(5), before, said([0, before], [1, before], [3, before]))).toBe(false)
  expect(mayDrop(own(4), before, said([0, before], [1, before], [3, before]))).toBe(true)
})

test('who learns where another went on by force drops what it had before, and nobody who votes does', () => {
  const learner = set(5, [0], 2)
  const passed = { ...own(5), isPassedByForce: true }
  expect(mayDrop(passed, learner, said([0, learner]))).toBe(true)
  expect(mayDrop(own(5), learner, said([0, learner]))).toBe(false)
  expect(mayDrop(passed, learner, said())).toBe(false)
  expect(mayDrop({ ...passed, promised: epochOf(6) }, learner, said([0, learner]))).toBe(false)
  const member = set(5, [0, 2])
  expect(mayDrop(passed, member, said([0, member]))).toBe(false)
})
