/** Benchmarks of the store beside what an operator has at hand: `npm run bench`. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseBytes } from '@cloudfs/interface'
import { Command, InvalidArgumentError } from 'commander'
import { addFailover, measureFailover } from './failover.js'
import { addRounds, type IoReport, measureIo } from './io.js'
import { measureLayouts } from './layout.js'
import { writePage } from './page.js'
import { PEERS } from './peers.js'
import { describeFailover } from './report-failover.js'
import { describeScale, describeSteady, describeVolumes } from './report-scale.js'
import { describeIo, describeLayouts } from './report.js'
import { measureScale } from './scale.js'
import { measureSteady } from './steady.js'
import { TARGETS, type TargetKind } from './targets.js'
import { measureVolumes } from './volumes.js'

const build = fileURLToPath(new URL('../../build/bench/', import.meta.url))
const docs = fileURLToPath(new URL('../../docs/', import.meta.url))
const kept = fileURLToPath(new URL('../figures/', import.meta.url))

const program = new Command('bench').description(
  'what the disks of this machine do, with CloudFS and without',
)

interface Times {
  readonly seconds: number
  readonly rounds: number
}

interface IoFlags extends Times {
  readonly size: number
  readonly only: string
  readonly against: string
  readonly add: boolean
}

/** Servers side by side. */
function sideBySide(
  name: string,
  description: string,
  kinds: readonly TargetKind[],
  isDefault = false,
): void {
  const command = times(program.command(name, { isDefault }), description, 10, 3)
    .option('--size <size>', 'of the disk', parseBytes, parseBytes('1G'))
    .option('--only <text>', 'workloads whose name contains this', '')
    .option('--against <text>', 'servers whose name contains this', '')
    .option('--add', 'to the rounds that the file of figures has', false)
  question(command, describeIo, async ({ size, add, ...flags }: IoFlags, json) => {
    const report = await measureIo({ ...flags, directory: join(build, name), kinds, sizeBytes: size, say })
    const merge = (before: IoReport, after: IoReport): IoReport => addRounds(kinds, before, after)
    return add ? mergedWith(json, report, merge) : report
  })
}

sideBySide(
  'io',
  'IOPS, latency and CPU of three copies, beside servers of one copy and the disk itself',
  TARGETS,
  true,
)
sideBySide('peers', 'the same beside Ceph and GlusterFS too, which are installed for it (as root)', PEERS)

question(
  times(
    program.command('steady'),
    'how even writes are for a minute, and what they take of log and wire',
    60,
  ).option('--size <size>', 'of the disk', parseBytes, parseBytes('1G')),
  describeSteady,
  ({ seconds, size }: Times & { size: number }) =>
    measureSteady({ directory: join(build, 'steady'), seconds, sizeBytes: size, say }),
)

question(
  times(program.command('volumes'), 'many volumes at once: throughput, memory, an idle node', 5, 3).option(
    '--volumes <n>',
    'that are attached at one node',
    count,
    64,
  ),
  describeVolumes,
  (flags: Times & { volumes: number }) =>
    measureVolumes({ directory: join(build, 'volumes'), ...flags, say }),
)

interface ScaleFlags extends Times {
  readonly mapMemory: number
  readonly sizes: number[]
  readonly only: string
}

question(
  times(program.command('scale'), 'the index at scale: memory, bytes a block, checkpoints, restarts', 60, 3)
    .option(
      '--map-memory <size>',
      'for map pages, while 1 TiB is written at random',
      parseBytes,
      parseBytes('256M'),
    )
    .option('--sizes <sizes>', 'of written volumes whose store is killed', sizes, sizes('4G,12G,36G'))
    .option('--only <text>', 'sparse or restart', ''),
  describeScale,
  (flags: ScaleFlags) => measureScale({ directory: join(build, 'scale'), ...flags, say }),
)

interface FailoverFlags extends Times {
  readonly volumes: number
  readonly handOvers: number
  readonly add: boolean
  readonly gone: number
  readonly only: string
}

question(
  times(program.command('failover'), 'how long I/O stalls when a host dies, hangs or hands over', 6, 20)
    .option('--only <text>', 'events whose name contains this', '')
    .option('--volumes <n>', 'whose primary dies together', count, 200)
    .option('--hand-overs <n>', 'one behind the other, under a client that verifies', count, 1000)
    .option('--gone <n>', 'seconds that a replica is gone', count, 30)
    .option('--add', 'to the rounds that the file of figures has', false),
  describeFailover,
  async ({ gone, add, ...flags }: FailoverFlags, json) => {
    const report = await measureFailover({ directory: build, goneSeconds: gone, ...flags, say })
    return add ? mergedWith(json, report, addFailover) : report
  },
)

question(
  times(program.command('layout'), 'durable appends of one block, by the layout of the batch', 3, 5),
  describeLayouts,
  ({ seconds, rounds }: Times) => Promise.resolve(measureLayouts(join(build, 'layout'), seconds, rounds)),
)

program
  .command('page')
  .description('docs/performance.md and its charts, of the figures measured last')
  .action(() => {
    const places = { page: join(docs, 'performance.md'), charts: join(docs, 'charts') }
    say(`written: ${writePage({ ...places, measured: build, kept }).join(', ')}`)
  })

/** How long and how often; without `rounds`, once. */
function times(command: Command, description: string, seconds: number, rounds?: number): Command {
  command.description(description).option('--seconds <n>', 'of each run', count, seconds)
  return rounds === undefined
    ? command
    : command.option('--rounds <n>', 'of everything, in alternation', count, rounds)
}

/** A command that measures: a table for the terminal, and a file of figures. */
function question<Report>(
  command: Command,
  describe: (report: Report) => string,
  measure: (flags: never, json: string) => Promise<Report>,
): void {
  command
    .option('--json <file>', 'where the figures go', join(build, `${command.name()}.json`))
    .action(async ({ json, ...flags }: { json: string }) => {
      const report = await measure(flags as never, json)
      mkdirSync(dirname(json), { recursive: true })
      writeFileSync(json, `${JSON.stringify(report, undefined, 2)}\n`)
      process.stdout.write(`${describe(report)}\n`)
    })
}

/** With the figures that the file has, if it is there. */
function mergedWith<Report>(
  json: string,
  report: Report,
  merge: (before: Report, after: Report) => Report,
): Report {
  return existsSync(json) ? merge(JSON.parse(readFileSync(json, 'utf8')) as Report, report) : report
}

function count(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1)
    throw new InvalidArgumentError('a whole number from 1 on is wanted')
  return value
}

function sizes(text: string): number[] {
  return text.split(',').map(parseBytes)
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

await program.parseAsync()
