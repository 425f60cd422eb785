import type { ScrubStep } from '@cloudfs/interface'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { Scrubber, type ScrubberOptions } from './scrubber.js'

const log = pino({ level: 'silent' })
const MINUTES = 60_000
const HOURS = 60 * MINUTES

/** A store of a hundred blocks in one version, on a clock that the test moves. */
class Bench {
  readonly asked: { node: number; block: number; blocksMax: number }[] = []
  readonly corrupt = new Set<number>()
  readonly good = new Set<number>()
  nowMs = 0
  #waiting: { atMs: number; then: () => void }[] = []
  readonly scrubber: Scrubber

  constructor(bytesPerSecond?: number) {
    this.scrubber = new Scrubber({
      log,
      now: () => this.nowMs,
      later: (ms, then) => {
        const one = { atMs: this.nowMs + ms, then }
        this.#waiting.push(one)
        return () => {
          this.#waiting = this.#waiting.filter((each) => each !== one)
        }
      },
      command: this.#command,
      ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
    })
  }

  readonly #command = (async (verb: string, args: { node: number; block: number; blocksMax: number }) => {
    await Promise.resolve()
    return verb === 'stats' ? { liveBytes: 100 * 4096 } : this.#scrub(args)
  }) as ScrubberOptions['command']

  #scrub(args: { node: number; block: number; blocksMax: number }): ScrubStep {
    this.asked.push(args)
    const end = Math.min(100, args.block + args.blocksMax)
    const bad = [...this.corrupt].filter((block) => block >= args.block && block < end)
    const repaired = bad.filter((block) => this.good.has(block))
    for (const block of repaired) this.corrupt.delete(block)
    return {
      node: 1,
      block: end,
      done: args.block === 100,
      blocks: end - args.block,
      corrupt: bad.length,
      repaired: repaired.length,
      pagesCorrupt: 0,
    }
  }

  /** Lets time pass, and what waits for it happen. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms
    for (;;) {
      for (let turns = 0; turns < 50; turns++) await Promise.resolve()
      const next = this.#waiting.toSorted((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined || next.atMs > untilMs) break
      this.#waiting = this.#waiting.filter((each) => each !== next)
      this.nowMs = next.atMs
      next.then()
    }
    this.nowMs = untilMs
  }
}

test('a pass begins some minutes after the start, reads at its rate, and is followed by another a day later', async () => {
  // A block a second.
  const bench = new Bench(4096)
  bench.scrubber.start()
  await bench.pass(9 * MINUTES)
  expect(bench.asked).toEqual([])
  await bench.pass(MINUTES + 1)
  expect(bench.asked).toEqual([{ node: 0, block: 0, blocksMax: 64 }])
  expect(bench.scrubber.status).toMatchObject({
    scrubRunning: 1,
    scrubPassBytes: 64 * 4096,
    scrubLiveBytes: 100 * 4096,
  })
  await bench.pass(64_000)
  expect(bench.asked).toHaveLength(2)
  await bench.pass(36_000)
  expect(bench.scrubber.status).toMatchObject({ scrubRunning: 0, scrubPassBytes: 100 * 4096, scrubPasses: 1 })
  await bench.pass(25 * HOURS)
  expect(bench.scrubber.status.scrubPasses).toBe(2)
})

test('a pass that is asked for begins at once, from the beginning, and does not wait between its steps', async () => {
  const bench = new Bench(0)
  bench.corrupt.add(3).add(99)
  bench.good.add(3)
  bench.scrubber.start()
  await bench.pass(100 * HOURS)
  expect(bench.asked).toEqual([])
  bench.scrubber.scrubNow()
  expect(bench.scrubber.status.scrubRunning).toBe(1)
  await bench.pass(0)
  expect(bench.scrubber.status).toMatchObject({
    scrubRunning: 0,
    scrubPasses: 1,
    scrubPassCorrupt: 2,
    scrubPassRepaired: 1,
    scrubEndedSeconds: 100 * 3600,
  })
  bench.scrubber.scrubNow()
  await bench.pass(0)
  expect(bench.scrubber.status).toMatchObject({ scrubPasses: 2, scrubPassCorrupt: 1, scrubPassRepaired: 0 })
})

test('one that is asked for amid another takes its place', async () => {
  const bench = new Bench(4096)
  bench.scrubber.start()
  await bench.pass(10 * MINUTES + 1)
  bench.scrubber.scrubNow()
  bench.scrubber.scrubNow()
  await bench.pass(0)
  expect(bench.scrubber.status).toMatchObject({ scrubPasses: 1, scrubPassBytes: 100 * 4096 })
  await bench.pass(HOURS)
  expect(bench.scrubber.status.scrubPasses).toBe(1)
})

test('when it is closed nothing is read any more', async () => {
  const bench = new Bench(4096)
  bench.scrubber.start()
  await bench.pass(10 * MINUTES + 1)
  await bench.scrubber.close()
  const count = bench.asked.length
  bench.scrubber.scrubNow()
  await bench.pass(100 * HOURS)
  expect(bench.asked).toHaveLength(count)
})
