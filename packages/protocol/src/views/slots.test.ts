import { VolumeId } from '@cloudfs/interface'
import { expect, test } from 'vitest'
import { Slots } from './slots.js'

const SLOTS = 16
const volumeOf = (index: number): VolumeId => VolumeId.parse(index.toString(16).padStart(40, '0'))
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Time goes on when it is told to. */
class HandClock {
  #nowMs = 0
  #sleeping: { untilMs: number; wake: () => void }[] = []

  nowMs(): number {
    return this.#nowMs
  }

  sleep(ms: number): Promise<void> {
    return new Promise((wake) => {
      this.#sleeping.push({ untilMs: this.#nowMs + ms, wake })
    })
  }

  async pass(ms: number): Promise<void> {
    this.#nowMs += ms
    const due = this.#sleeping.filter(({ untilMs }) => untilMs <= this.#nowMs)
    this.#sleeping = this.#sleeping.filter((each) => !due.includes(each))
    for (const { wake } of due) wake()
    await tick()
  }
}

const full = async (slots: Slots): Promise<(() => void)[]> => {
  const { signal } = new AbortController()
  return Promise.all(
    Array.from({ length: SLOTS }, (_, index) =>
      slots.enter({ volume: volumeOf(index), place: 0, isForward: true }, signal),
    ),
  )
}

test('two hosts take the volumes that wait from opposite ends, those that failed before last', async () => {
  const { signal } = new AbortController()
  for (const isForward of [true, false]) {
    const slots = new Slots(new HandClock())
    const leaves = await full(slots)
    const entered: number[] = []
    for (const [index, place] of [
      [11, 1],
      [13, 1],
      [12, 1],
      [10, 2],
      [14, 0],
    ] as const) {
      const standing = { volume: volumeOf(index), place, isForward }
      slots.enter(standing, signal).then(
        () => entered.push(index),
        () => undefined,
      )
    }
    for (const leave of leaves) {
      leave()
      // Once is enough.
      leave()
      await tick()
    }
    expect(entered).toEqual(isForward ? [14, 11, 12, 13, 10] : [14, 13, 12, 11, 10])
    expect(slots.isFull).toBe(false)
  }
})

test('who waits is let in when others hold on for long, and not at all once given up', async () => {
  const clock = new HandClock()
  const slots = new Slots(clock)
  await full(slots)
  const given = new AbortController()
  const gone = slots.enter({ volume: volumeOf(20), place: 0, isForward: true }, given.signal)
  const { signal } = new AbortController()
  let isIn = false
  const waits = slots.enter({ volume: volumeOf(21), place: 1, isForward: true }, signal).then(() => {
    isIn = true
  })
  const minded = slots.mind(signal)
  given.abort(new Error('gone'))
  await expect(gone).rejects.toThrow('gone')
  await clock.pass(250)
  expect(isIn).toBe(false)
  for (let ms = 0; ms < 1_000; ms += 250) await clock.pass(250)
  await Promise.all([waits, minded])
  expect(isIn).toBe(true)
})
