/** What `io`, `peers` and `layout` measured, in Markdown. */
import type { Measured } from './fio.js'
import type { Floor } from './floor.js'
import type { IoReport, IoResult } from './io.js'
import type { LayoutReport } from './layout.js'
import { medianOf } from './series.js'
import { MB, median, rounded, spread, tableOf } from './tables.js'

/** Each workload with all that was measured of it. */
export function describeIo(report: IoReport): string {
  const { machine, results, durability, floors, idleNodeBytes } = report
  const sections = workloadsOf(report).map(
    (workload) => `### ${workload}\n\n${resultsTable(results.filter((each) => each.workload === workload))}`,
  )
  const promises = Object.entries(durability).map(([target, text]) => `- **${target}**: ${text}`)
  const memory =
    idleNodeBytes === undefined ? [] : [`An idle node, both processes: ${rounded(idleNodeBytes / MB)} MB.`]
  return [machine, promises.join('\n'), ...sections, floorTable(floors), ...memory].join('\n\n')
}

/** A row for each server: IOPS of random I/O, MB/s of sequential, and CPU at depth 32. */
export function describeGlance(report: IoReport): string {
  const workloads = workloadsOf(report)
  const rows = Object.keys(report.durability).map((target) => [
    target,
    ...workloads.map((workload) => glance(report, target, workload)),
    ['random write, depth 32', 'random read, depth 32']
      .map((workload) => runsOf(report, target, workload).map(({ cpuPerOperation }) => cpuPerOperation))
      .map((each) => (each.length === 0 ? '' : median(each, 1)))
      .join(' / '),
  ])
  const head = ['', ...workloads, 'server CPU us/op at depth 32, write / read']
  return tableOf(head, rows)
}

function glance(report: IoReport, target: string, workload: string): string {
  const runs = runsOf(report, target, workload)
  if (runs.length === 0) return ''
  return isSequential(workload)
    ? `${median(runs.map(({ bandwidth }) => bandwidth / MB))} MB/s`
    : median(runs.map(({ iops }) => iops))
}

/** Whether bytes count rather than operations. */
export function isSequential(workload: string): boolean {
  return workload.startsWith('sequential')
}

export function runsOf({ results }: IoReport, target: string, workload: string): IoResult['runs'] {
  return results.find((each) => each.target === target && each.workload === workload)?.runs ?? []
}

export function workloadsOf({ results }: IoReport): string[] {
  return [...new Set(results.map(({ workload }) => workload))]
}

function floorTable(floors: readonly Floor[]): string {
  const row = (name: string, of: (floor: Floor) => Measured, blocks: number): string[] => {
    const iops = medianOf(floors.map((floor) => of(floor).iops))
    return [name, spread(floors.map((floor) => of(floor).iops)), rounded(iops * blocks)]
  }
  const sequential = floors.map(({ sequential: { iops } }) => iops)
  const bandwidth = medianOf(floors.map((floor) => floor.sequential.bandwidth))
  return tableOf(
    ['floor: durable appends to three files at once', 'a second', 'blocks or MB/s'],
    [
      row('4 KiB', ({ append }) => append, 1),
      row('32 × 4 KiB', ({ append32 }) => append32, 32),
      ['1 MiB', spread(sequential), `${rounded(bandwidth / MB)} MB/s`],
    ],
  )
}

function resultsTable(results: readonly IoResult[]): string {
  const rows = results.map(({ target, runs }) => [
    target,
    spread(runs.map(({ iops }) => iops)),
    spread(runs.map(({ bandwidth }) => bandwidth / MB)),
    median(runs.map(({ p50 }) => p50)),
    median(runs.map(({ p99 }) => p99)),
    median(
      runs.map(({ cpuPerOperation }) => cpuPerOperation),
      1,
    ),
  ])
  return tableOf(['', 'IOPS', 'MB/s', 'p50 us', 'p99 us', 'server CPU us/op'], rows)
}

export function describeLayouts({ machine, results }: LayoutReport): string {
  const rows = results.map(({ layout, appends, logBytesPerUserByte }) => [
    layout,
    rounded(appends),
    rounded(logBytesPerUserByte, 2),
  ])
  return `${machine}\n\n${tableOf(['a batch of one block', 'durable appends/s', 'log bytes per user byte'], rows)}`
}
