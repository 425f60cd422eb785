/** Benchmarks of the store beside what an operator has at hand: `npm run bench`. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseBytes } from '@cloudfs/interface'
import { Command, InvalidArgumentError } from 'commander'
import { measureFailover } from './failover.js'
import { measureIo } from './io.js'
import { measureLayouts } from './layout.js'
import { type PageSources, writePage } from './page.js'
import { describeFailover, describeIo, describeLayouts } from './report.js'

const build = fileURLToPath(new URL('../../build/bench/', import.meta.url))
const page = fileURLToPath(new URL('../../docs/performance.md', import.meta.url))

function count(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1)
    throw new InvalidArgumentError('a whole number from 1 on is wanted')
  return value
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

const program = new Command('bench').description(
  'what the disks of this machine do, with CloudFS and without',
)

program
  .command('io', { isDefault: true })
  .description('IOPS, latency and CPU of three copies, beside servers of one copy and the disk itself')
  .option('--seconds <n>', 'of each run', count, 10)
  .option('--rounds <n>', 'of everything, in alternation', count, 3)
  .option('--size <size>', 'of the disk', parseBytes, parseBytes('1G'))
  .option('--only <text>', 'workloads whose name contains this', '')
  .option('--against <text>', 'servers whose name contains this', '')
  .option('--json <file>', 'where the figures go', join(build, 'io.json'))
  .action(async ({ seconds, rounds, size, only, against, json }: IoFlags) => {
    const options = { directory: join(build, 'io'), seconds, rounds, sizeBytes: size, only, against, say }
    const report = await measureIo(options)
    writeFileSync(json, `${JSON.stringify(report, undefined, 2)}\n`)
    process.stdout.write(`${describeIo(report)}\n`)
  })

program
  .command('failover')
  .description('how long I/O stalls when a host dies, hangs or hands over')
  .option('--seconds <n>', 'of each run', count, 6)
  .option('--rounds <n>', 'of all events', count, 20)
  .option('--only <text>', 'events whose name contains this', '')
  .option('--volumes <n>', 'whose primary dies together', count, 200)
  .option('--gone <n>', 'seconds that a replica is gone', count, 30)
  .option('--json <file>', 'where the figures go', join(build, 'failover.json'))
  .action(async ({ json, gone, ...flags }: FailoverFlags) => {
    const report = await measureFailover({ directory: build, goneSeconds: gone, ...flags, say })
    writeFileSync(json, `${JSON.stringify(report, undefined, 2)}\n`)
    process.stdout.write(`${describeFailover(report)}\n`)
  })

program
  .command('layout')
  .description('durable appends of one block, by the layout of the batch')
  .option('--seconds <n>', 'of each run', count, 3)
  .option('--rounds <n>', 'of all layouts, in alternation', count, 5)
  .option('--json <file>', 'where the figures go', join(build, 'layout.json'))
  .action(({ seconds, rounds, json }: LayoutFlags) => {
    const report = measureLayouts(join(build, 'layout'), seconds, rounds)
    writeFileSync(json, `${JSON.stringify(report, undefined, 2)}\n`)
    process.stdout.write(`${describeLayouts(report)}\n`)
  })

program
  .command('page')
  .description('docs/performance.md of the figures measured last')
  .option('--io <file>', 'figures of io', join(build, 'io.json'))
  .option('--layout <file>', 'figures of layout', join(build, 'layout.json'))
  .option('--failover <file>', 'figures of failover', join(build, 'failover.json'))
  .action((sources: PageSources) => {
    writePage(page, sources)
  })

interface FailoverFlags {
  readonly volumes: number
  readonly gone: number
  readonly seconds: number
  readonly rounds: number
  readonly only: string
  readonly json: string
}

interface LayoutFlags {
  readonly seconds: number
  readonly rounds: number
  readonly json: string
}

interface IoFlags {
  readonly seconds: number
  readonly rounds: number
  readonly size: number
  readonly only: string
  readonly against: string
  readonly json: string
}

await program.parseAsync()
