import { expect, test } from 'vitest'
import { pictureOf, textOf } from './top.js'

type Sample = Parameters<typeof pictureOf>[0]

const id = (digit: string): string => digit.repeat(40)

function volume(name: string, lsn: number, committedLsn = lsn): Sample['volumes'][number] {
  const host = id('b')
  const replica = { host, store: id('c'), role: 'data', isPrimary: true, state: 'in-step' } as const
  return {
    volume: id(name),
    name,
    sizeBytes: 4096,
    mode: 'quorum',
    lsn,
    version: id('d'),
    committedLsn,
    primary: host,
    epoch: { counter: 1, host },
    replicas: [replica, { ...replica, isPrimary: false, state: 'away' }],
    snapshots: [],
    attachments: [],
    isServing: true,
  }
}

const sample = (atMs: number, ...volumes: Sample['volumes'][number][]): Sample => ({
  atMs,
  volumes,
  nodes: [],
})

test('rates are updates over the time between two pictures, the busiest volume first', () => {
  const picture = pictureOf(
    sample(1000, volume('1', 10), volume('2', 10)),
    sample(3000, volume('1', 12), volume('2', 510)),
  )
  expect(picture.seconds).toBe(2)
  expect(picture.volumes.map(({ name, updatesPerSecond }) => [name, updatesPerSecond])).toEqual([
    ['2', 250],
    ['1', 1],
  ])
})

test('a volume that is new has no rate yet, and one that was rolled back has none below zero', () => {
  const picture = pictureOf(sample(0, volume('1', 10)), sample(1000, volume('1', 5), volume('2', 700)))
  expect(picture.volumes.map(({ updatesPerSecond }) => updatesPerSecond)).toEqual([0, 0])
})

test('what is not committed and who is in step is shown as it is', () => {
  const text = textOf(pictureOf(sample(0), sample(1000, volume('1', 12, 9))))
  expect(text).toMatch(/1{40} +1 +0\.0 +12 +3 +1\/2 +-$/m)
})
