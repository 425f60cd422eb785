/** Disk I/O of three copies beside servers of one, in alternation, several rounds: medians and spread. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { atEnd } from './ends.js'
import { fill, type Measured, measureNbd, warm } from './fio.js'
import { type Floor, measureFloor } from './floor.js'
import { describeMachine } from './machine.js'
import { cpuMicroseconds, dropCaches, residentBytes } from './processes.js'
import type { Target, TargetKind } from './targets.js'
import { type Workload, WORKLOADS } from './workloads.js'

/** What was written before would else be written back while the next one is measured. */
const PAUSE_MS = 2000

export interface IoOptions {
  readonly directory: string
  /** What is measured, in this order, in each round. */
  readonly kinds: readonly TargetKind[]
  readonly sizeBytes: number
  readonly seconds: number
  readonly rounds: number
  /** Only workloads whose name contains this. */
  readonly only: string
  /** Only targets whose name contains this. */
  readonly against: string
  readonly say: (line: string) => void
}

export interface IoResult {
  readonly target: string
  readonly workload: string
  readonly runs: readonly (Measured & { readonly cpuPerOperation: number })[]
}

export interface IoReport {
  readonly machine: string
  readonly secondsOfRun: number
  readonly rounds: number
  readonly sizeBytes: number
  readonly results: readonly IoResult[]
  /** Of each target: what an acknowledged write and flush are worth. */
  readonly durability: Readonly<Record<string, string>>
  /** One of each round. */
  readonly floors: readonly Floor[]
  /** Of a node of CloudFS before its first load: both processes, bytes; if one was measured. */
  readonly idleNodeBytes?: number
}

export async function measureIo(options: IoOptions): Promise<IoReport> {
  mkdirSync(options.directory, { recursive: true })
  const forget = atEnd(() => {
    rmSync(options.directory, { recursive: true, force: true })
  })
  const kinds = options.kinds.filter(({ name }) => name.includes(options.against))
  const isRoot = process.getuid?.() === 0
  if (!isRoot) options.say('reads that are not cached need root: left out')
  const workloads = WORKLOADS.filter(
    ({ name, isCold }) => name.includes(options.only) && (isRoot || isCold !== true),
  )
  const results = new Map<string, { target: string; workload: string; runs: IoResult['runs'][number][] }>()
  const floors: Floor[] = []
  let idleNodeBytes: number | undefined
  try {
    for (let round = 1; round <= options.rounds; round++) {
      for (const { name, start } of kinds) {
        const directory = join(options.directory, 'target')
        const target = await start({ directory, sizeBytes: options.sizeBytes }, options.say)
        try {
          options.say(`round ${String(round)}: ${name}`)
          idleNodeBytes ??= target.node?.map(residentBytes).reduce((a, b) => a + b)
          await fill({ uri: target.uri, sizeBytes: options.sizeBytes })
          for (const workload of workloads) {
            const run = await measure(workload, target, options)
            const key = `${name} ${workload.name}`
            const result = results.get(key) ?? { target: name, workload: workload.name, runs: [] }
            result.runs.push(run)
            results.set(key, result)
          }
        } finally {
          await target.stop()
        }
      }
      options.say(`round ${String(round)}: the floor: durable appends to three files`)
      await delay(PAUSE_MS)
      floors.push(await measureFloor(join(options.directory, 'floor'), options.seconds))
    }
    return {
      machine: describeMachine(),
      secondsOfRun: options.seconds,
      rounds: options.rounds,
      sizeBytes: options.sizeBytes,
      results: [...results.values()],
      durability: Object.fromEntries(kinds.map(({ name, durability }) => [name, durability])),
      floors,
      ...(idleNodeBytes === undefined ? {} : { idleNodeBytes }),
    }
  } finally {
    rmSync(options.directory, { recursive: true, force: true })
    forget()
  }
}

async function measure(
  workload: Workload,
  target: Target,
  options: IoOptions,
): Promise<IoResult['runs'][number]> {
  const run = { uri: target.uri, sizeBytes: options.sizeBytes, seconds: options.seconds }
  // All servers answer reads from memory then: uncached reads measure the disk.
  if (workload.rw.endsWith('read') && workload.isCold !== true) await warm(run)
  await delay(PAUSE_MS)
  if (workload.isCold === true) await dropCaches()
  const before = cpuMicroseconds(target.pids)
  const measured = await measureNbd(workload, run)
  const cpuPerOperation = (cpuMicroseconds(target.pids) - before) / Math.max(measured.operations, 1)
  options.say(
    `  ${workload.name}: ${measured.iops.toFixed(0)}/s, p50 ${measured.p50.toFixed(0)} us, p99 ${measured.p99.toFixed(0)} us, CPU ${cpuPerOperation.toFixed(1)} us`,
  )
  return { ...measured, cpuPerOperation }
}

/** Rounds of two runs as those of one, for what was measured in batches; targets in the order of `kinds`. */
export function addRounds(kinds: readonly TargetKind[], before: IoReport, after: IoReport): IoReport {
  const keyOf = ({ target, workload }: IoResult): string => `${target} ${workload}`
  const later = new Map(after.results.map((each) => [keyOf(each), each]))
  const results = before.results.map((each) => {
    const added = later.get(keyOf(each))
    later.delete(keyOf(each))
    return { ...each, runs: [...each.runs, ...(added?.runs ?? [])] }
  })
  const place = (target: string): number => kinds.findIndex(({ name }) => name === target)
  const all = [...results, ...later.values()].sort((a, b) => place(a.target) - place(b.target))
  const durability = Object.entries({ ...before.durability, ...after.durability })
  return {
    ...before,
    ...after,
    rounds: Math.max(...all.map(({ runs }) => runs.length)),
    results: all,
    floors: [...before.floors, ...after.floors],
    durability: Object.fromEntries(durability.sort(([a], [b]) => place(a) - place(b))),
  }
}
