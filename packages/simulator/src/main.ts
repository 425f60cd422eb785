/**
 * `npm run sim`: lives a seed again and tells of it, or searches many.
 *
 *   npm run sim -- --seed N [--log story|all] [--plant BUG]
 *   npm run sim -- --seeds A..B [--workers N] [--plant BUG]
 *
 * Exits with 1 if anything was that must not be, with 2 if it is asked wrongly.
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Plant, plants } from '@cloudfs/native'
import type { Counts } from './coverage.js'
import { live } from './life.js'
import type { LogLevel } from './log.js'
import { search, work } from './search.js'

const usage = `usage: npm run sim -- --seed N [--log story|all|none] [--plant BUG]
       npm run sim -- --seeds A..B [--workers N] [--plant BUG]`

const help = `${usage}

Lives of whole clusters from one number: the shipped core and view protocol, simulated disks, clocks and network.

  --seed N        lives one again and tells of it; the same number, the same life
  --log LEVEL     story: what went wrong, who led, what people did. all: each message too. none: the end alone
  --seeds A..B    searches: prints what was met, seeds a second, simulated hours, and the seeds with a fault
  --workers N     processes that search; as many as there are cores unless given
  --plant BUG     has the core make a bug, which must be found: ${plants.join(', ')}

Exits with 1 if anything was that must not be, with 2 if it is asked wrongly. How to read a log: docs/testing.md.

examples:
  npm run sim -- --seeds 1..200
  npm run sim -- --seed 42 --log all > life.log
  npm run sim -- --seeds 1..40 --plant boot-ignored`

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      seeds: { type: 'string' },
      log: { type: 'string', default: 'story' },
      plant: { type: 'string' },
      workers: { type: 'string' },
      worker: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) {
    say(help)
    return 0
  }
  if (values.worker) {
    work()
    return 0
  }
  const plant = plants.find((one) => one === values.plant)
  const level = (['none', 'story', 'all'] as const).find((one) => one === values.log)
  const range = /^(\d+)\.\.(\d+)$/.exec(values.seeds ?? '')
  const isAskedWrongly =
    (values.plant !== undefined && plant === undefined) ||
    level === undefined ||
    (range === null && !/^\d+$/.test(values.seed ?? '')) ||
    (values.workers !== undefined && !/^[1-9]\d*$/.test(values.workers))
  if (isAskedWrongly) {
    process.stderr.write(`${usage}\n`)
    return 2
  }
  if (range === null) return replay(Number(values.seed), level, plant)
  const workerCount = values.workers === undefined ? undefined : Number(values.workers)
  return searchAll(Number(range[1]), Number(range[2]), workerCount, plant)
}

async function replay(seed: number, level: LogLevel, plant: Plant | undefined): Promise<number> {
  const report = await live({ seed, level, sink: say, plant })
  printCounts(report.counts)
  const seconds = (report.simulatedNs / 1e9).toFixed(1)
  say(
    `seed ${String(seed)}: ${String(report.steps)} core steps, ${seconds} simulated seconds, fingerprint ${report.fingerprint}`,
  )
  if (report.fault === undefined) return 0
  for (const line of report.story) say(`  ${line}`)
  say(`FAULT: ${report.fault}`)
  return 1
}

async function searchAll(
  first: number,
  last: number,
  workerCount: number | undefined,
  plant: Plant | undefined,
): Promise<number> {
  const started = process.hrtime.bigint()
  const found = await search({
    first,
    last,
    plant,
    workerCount,
    program: fileURLToPath(import.meta.url),
    // At once: a search that is cut short has said what it found.
    onReport: ({ seed, fault }) => {
      if (fault !== undefined) process.stderr.write(`seed ${String(seed)}: ${fault}\n`)
    },
    onProgress: (seedCount, living) => {
      const of = `${String(seedCount)} of ${String(last - first + 1)} seeds`
      process.stderr.write(`${of}; being lived: ${living.join(', ')}\n`)
    },
  })
  const seconds = Number(process.hrtime.bigint() - started) / 1e9
  printCounts(found.counts)
  const rate = (found.seedCount / seconds).toFixed(2)
  const hours = (found.simulatedNs / 3.6e12).toFixed(2)
  say(
    `${String(found.seedCount)} seeds in ${seconds.toFixed(1)} s: ${rate} seeds/s, ${hours} simulated hours, ${String(found.steps)} core steps`,
  )
  for (const { seed, fault } of found.failures) say(`FAULT in seed ${String(seed)}: ${fault}`)
  return found.failures.length === 0 ? 0 : 1
}

function printCounts(counts: Counts): void {
  for (const [name, times] of Object.entries(counts)) say(`${String(times).padStart(9)} ${name}`)
}

process.exitCode = await main()
