import { expect, test } from 'vitest'
import { Coverage } from './coverage.js'
import { Network } from './network.js'
import { randomFrom } from './random.js'
import { Schedule, SECOND } from './schedule.js'

function world(seed: number) {
  const schedule = new Schedule()
  const coverage = new Coverage()
  const network = new Network({ schedule, coverage, hostCount: 2, random: randomFrom(seed) })
  return { schedule, coverage, network }
}

const numbers = Array.from({ length: 200 }, (_, index) => index)

test('a connection keeps the order, and what it has while a direction is cut off comes later', () => {
  const { schedule, network } = world(1)
  const arrived: number[] = []
  const pipe = network.pipe<number>(0, 1, (item) => arrived.push(item))
  for (const number of numbers)
    schedule.at(number * 1000, () => {
      pipe.push(number)
    })
  let restore: () => void = () => undefined
  schedule.at(50_000, () => (restore = network.cutOff(0, 1)))
  while (schedule.step(SECOND));
  expect(arrived.length).toBeLessThan(numbers.length)
  restore()
  while (schedule.step(2 * SECOND));
  expect(arrived).toEqual(numbers)
})

test('one direction is cut off and the other is not', () => {
  const { schedule, network } = world(2)
  const arrived: string[] = []
  network.cutOff(0, 1)
  network.pipe<string>(0, 1, (item) => arrived.push(item)).push('there')
  network.pipe<string>(1, 0, (item) => arrived.push(item)).push('back')
  while (schedule.step(SECOND));
  expect(arrived).toEqual(['back'])
})

test('two cuts of a direction end with the second', () => {
  const { schedule, network } = world(3)
  let count = 0
  const restores = [network.cutOff(0, 1), network.cutOff(0, 1)]
  network.pipe<string>(0, 1, () => count++).push('once')
  restores[0]?.()
  while (schedule.step(SECOND));
  expect(count).toBe(0)
  restores[1]?.()
  while (schedule.step(2 * SECOND));
  expect(count).toBe(1)
})

test('who sends into a direction that stays cut off gives up after 15 s, and not before', () => {
  const { schedule, network } = world(5)
  const gaveUp: string[] = []
  const arrived: string[] = []
  const pipe = (name: string): ReturnType<typeof network.pipe<string>> =>
    network.pipe<string>(
      0,
      1,
      (item) => arrived.push(item),
      () => gaveUp.push(name),
    )
  let restore = network.cutOff(0, 1)
  pipe('sends').push('once')
  pipe('says nothing')
  while (schedule.step(14 * SECOND));
  restore()
  while (schedule.step(40 * SECOND));
  expect(arrived).toEqual(['once'])
  expect(gaveUp).toEqual([])
  restore = network.cutOff(0, 1)
  pipe('sends again').push('twice')
  while (schedule.step(60 * SECOND));
  expect(gaveUp).toEqual(['sends again'])
  restore()
})

test('single messages are lost, doubled and overtaken', () => {
  const { schedule, coverage, network } = world(4)
  const arrived: number[] = []
  network.lostShare = network.doubledShare = 0.2
  for (const number of numbers) network.send(0, 1, () => arrived.push(number))
  while (schedule.step(SECOND));
  const { counts } = coverage
  expect(counts['fault:message-lost']).toBeGreaterThan(0)
  expect(counts['fault:message-doubled']).toBeGreaterThan(0)
  expect(arrived).not.toEqual(arrived.toSorted((a, b) => a - b))
})
