/** Disk I/O of three copies beside servers of one, in alternation, several rounds: medians and spread. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fill, type Measured, measureNbd, warm } from './fio.js'
import { type Floor, measureFloor } from './floor.js'
import { describeMachine } from './machine.js'
import { cpuMicroseconds, residentBytes } from './processes.js'
import { type Target, TARGETS } from './targets.js'
import { type Workload, WORKLOADS } from './workloads.js'

/** What was written before would else be written back while the next one is measured. */
const PAUSE_MS = 2000

export interface IoOptions {
  readonly directory: string
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
  readonly floor: Floor
  /** Of a node of CloudFS before its first load: both processes, bytes; if one was measured. */
  readonly idleNodeBytes?: number
}

export async function measureIo(options: IoOptions): Promise<IoReport> {
  mkdirSync(options.directory, { recursive: true })
  const targets = TARGETS.filter(({ name }) => name.includes(options.against))
  const workloads = WORKLOADS.filter(({ name }) => name.includes(options.only))
  const results = new Map<string, { target: string; workload: string; runs: IoResult['runs'][number][] }>()
  let idleNodeBytes: number | undefined
  try {
    for (let round = 1; round <= options.rounds; round++) {
      for (const { name, start } of targets) {
        const directory = join(options.directory, 'target')
        const target = await start({ directory, sizeBytes: options.sizeBytes })
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
    }
    options.say('the floor: durable appends to three files')
    const floor = await measureFloor(join(options.directory, 'floor'), options.seconds)
    return {
      machine: describeMachine(),
      secondsOfRun: options.seconds,
      rounds: options.rounds,
      sizeBytes: options.sizeBytes,
      results: [...results.values()],
      floor,
      ...(idleNodeBytes === undefined ? {} : { idleNodeBytes }),
    }
  } finally {
    rmSync(options.directory, { recursive: true, force: true })
  }
}

async function measure(
  workload: Workload,
  target: Target,
  options: IoOptions,
): Promise<IoResult['runs'][number]> {
  const run = { uri: target.uri, sizeBytes: options.sizeBytes, seconds: options.seconds }
  // All servers answer reads from memory then: uncached reads measure the disk.
  if (workload.rw.endsWith('read')) await warm(run)
  await delay(PAUSE_MS)
  const before = cpuMicroseconds(target.pids)
  const measured = await measureNbd(workload, run)
  const cpuPerOperation = (cpuMicroseconds(target.pids) - before) / Math.max(measured.operations, 1)
  options.say(
    `  ${workload.name}: ${measured.iops.toFixed(0)}/s, p50 ${measured.p50.toFixed(0)} us, p99 ${measured.p99.toFixed(0)} us, CPU ${cpuPerOperation.toFixed(1)} us`,
  )
  return { ...measured, cpuPerOperation }
}
