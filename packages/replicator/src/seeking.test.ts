import { HostId, VolumeId } from '@cloudfs/interface'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Seeking } from './seeking.js'

const hosts = ['a', 'b', 'c'].map((digit) => HostId.parse(digit.repeat(40)))
const [member, other] = hosts as [HostId, HostId]
const volumeOf = (index: number): VolumeId => VolumeId.parse(index.toString(16).padStart(40, '0'))

interface Asked {
  readonly volume: VolumeId
  readonly host: HostId
}

/** Sought volumes are found when they are put into `found`. */
interface World {
  readonly seeking: Seeking
  readonly seek: (index: number, first?: Promise<unknown>) => void
  readonly asked: Asked[]
  readonly found: Set<VolumeId>
  readonly world: { isDown: boolean }
}

function begin(): World {
  const asked: Asked[] = []
  const found = new Set<VolumeId>()
  const world = { isDown: false }
  const run = (work: Promise<void>): void => {
    work.catch((error: unknown) => {
      throw error
    })
  }
  const seeking = new Seeking({
    isFound: (volume) => found.has(volume),
    candidates: (_, all) => (all ? [member, other] : [member]),
    ask: (volume, host) => {
      asked.push({ volume, host })
      return Promise.resolve()
    },
    mustWait: () => world.isDown,
    run,
  })
  const seek: World['seek'] = (index, first) => {
    run(seeking.seek(volumeOf(index), first))
  }
  return { seeking, seek, asked, found, world }
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

test('hosts are asked at once and less and less often, until the primary is found', async () => {
  const { seeking, asked, found } = begin()
  const volume = volumeOf(1)
  const done = seeking.seek(volume)
  await vi.advanceTimersByTimeAsync(300)
  // At 0, 20, 60, 140 and 300 ms.
  expect(asked).toHaveLength(5)
  found.add(volume)
  seeking.wake(volume)
  await done
  expect(seeking.has(volume)).toBe(false)
})

test('when those that keep the volume do not say for a second, all hosts are asked', async () => {
  const { seeking, seek, asked } = begin()
  seek(1)
  await vi.advanceTimersByTimeAsync(1_200)
  expect(asked.map(({ host }) => host)).not.toContain(other)
  await vi.advanceTimersByTimeAsync(1_000)
  expect(asked.map(({ host }) => host)).toContain(other)
  seeking.close()
})

test('of many volumes each is asked for later, and of those that keep it alone', async () => {
  const { seeking, seek, asked } = begin()
  for (let index = 0; index < 300; index++) seek(index)
  await vi.advanceTimersByTimeAsync(500)
  expect(asked.length).toBeLessThan(150)
  await vi.advanceTimersByTimeAsync(1_600)
  expect(new Set(asked.map(({ volume }) => volume)).size).toBe(300)
  expect(asked.map(({ host }) => host)).not.toContain(other)
  seeking.close()
})

test('nobody is asked while nothing can be made of an answer, and at once when that is over and it is woken', async () => {
  const { seeking, seek, asked, world } = begin()
  world.isDown = true
  seek(1)
  await vi.advanceTimersByTimeAsync(5_000)
  expect(asked).toEqual([])
  world.isDown = false
  seeking.wakeAll()
  await vi.advanceTimersByTimeAsync(0)
  expect(asked).toHaveLength(1)
  seeking.close()
})

test('what is waited for first is', async () => {
  const { seeking, seek, asked } = begin()
  let go = (): void => undefined
  const first = new Promise<void>((resolve) => {
    go = resolve
  })
  seek(1, first)
  await vi.advanceTimersByTimeAsync(1_000)
  expect(asked).toEqual([])
  go()
  await vi.advanceTimersByTimeAsync(0)
  expect(asked).toHaveLength(1)
  seeking.close()
})
