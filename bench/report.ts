/** What was measured, as tables that a terminal and docs/performance.md show alike. */
import { markdownTable } from 'markdown-table'
import type { Measured } from './fio.js'
import type { FailoverReport } from './failover.js'
import type { Gone } from './gone.js'
import type { Rebuild } from './rebuild.js'
import type { LayoutReport } from './layout.js'
import type { IoReport, IoResult } from './io.js'

const MB = 1e6

/** @returns Markdown */
export function describeIo({ machine, results, floor, idleNodeBytes }: IoReport): string {
  const workloads = [...new Set(results.map(({ workload }) => workload))]
  const sections = workloads.map(
    (workload) => `### ${workload}\n\n${tableOf(results.filter((each) => each.workload === workload))}`,
  )
  const floors = markdownTable(
    [
      ['floor: durable appends to three files at once', 'a second', 'blocks or MB/s'],
      ['4 KiB', rounded(floor.append.iops), rounded(floor.append.iops)],
      ['32 × 4 KiB', rounded(floor.append32.iops), rounded(floor.append32.iops * 32)],
      ['1 MiB', rounded(floor.sequential.iops), `${rounded(floor.sequential.bandwidth / MB)} MB/s`],
    ],
    { align: ['l', 'r', 'r'] },
  )
  const memory =
    idleNodeBytes === undefined ? [] : [`An idle node, both processes: ${rounded(idleNodeBytes / MB)} MB.`]
  return [machine, ...sections, floors, ...memory].join('\n\n')
}

/** @returns Markdown */
export function describeLayouts({ machine, results }: LayoutReport): string {
  const rows = results.map(({ layout, appends, logBytesPerUserByte }) => [
    layout,
    rounded(appends),
    rounded(logBytesPerUserByte, 2),
  ])
  const table = markdownTable(
    [['a batch of one block', 'durable appends/s', 'log bytes per user byte'], ...rows],
    { align: ['l', 'r', 'r'] },
  )
  return `${machine}\n\n${table}`
}

/** @returns Markdown */
export function describeFailover(report: FailoverReport): string {
  const { machine, results, together, gone, goneSlowly, rebuilds } = report
  const all = results.map(({ event, stallsMs }) => ({ name: event, stallsMs }))
  if (together !== undefined)
    all.push({
      name: `${String(together.volumes)} volumes whose primary dies together, each`,
      stallsMs: together.stallsMs.flat(),
    })
  const rows = all.map(({ name, stallsMs }) => {
    const stalls = [...stallsMs].sort((a, b) => a - b)
    return [name, rounded(stalls[Math.floor(stalls.length / 2)] ?? 0), rounded(stalls.at(-1) ?? 0)]
  })
  const table = markdownTable([['event', 'median ms', 'worst ms'], ...rows], { align: ['l', 'r', 'r'] })
  const parts = [
    machine,
    ...(rows.length === 0 ? [] : [table]),
    ...(gone === undefined ? [] : [describeGone('under full load', gone)]),
    ...(goneSlowly === undefined
      ? []
      : [describeGone(`under ${String(goneSlowly.rate)} writes a second`, goneSlowly)]),
    ...(rebuilds === undefined ? [] : [describeRebuilds(rebuilds)]),
  ]
  return parts.join('\n\n')
}

function describeGone(
  load: string,
  { seconds, rounds }: { readonly seconds: number; readonly rounds: readonly Gone[] },
): string {
  const head = [`a replica is gone for ${String(seconds)} s ${load}, and comes back`, 'median', 'worst']
  const row = (name: string, of: (one: Gone) => number, isGood: 'high' | 'low'): string[] =>
    medianAndWorst(name, rounds.map(of), isGood)
  const rows = [
    row('IOPS of the client before, with all three', ({ iopsBefore }) => iopsBefore, 'high'),
    row('while its node starts, % of that', ({ shareStarting }) => 100 * shareStarting, 'high'),
    row('while it catches up, % of that', ({ share }) => 100 * share, 'high'),
    row('until it is in step, ms from its start', ({ inStepMs }) => inStepMs, 'low'),
    row('until it is in step, ms from when it is ready', ({ inStepOfReadyMs }) => inStepOfReadyMs, 'low'),
    row(
      'fetched, % of what was written meanwhile',
      (one) => (100 * one.fetchedBytes) / one.lackedBytes,
      'low',
    ),
  ]
  return markdownTable([head, ...rows], { align: ['l', 'r', 'r'] })
}

function describeRebuilds(rounds: readonly Rebuild[]): string {
  const head = ['a replica is made anew at an empty host under full load', 'median', 'worst']
  const row = (name: string, of: (one: Rebuild) => number): string[] =>
    medianAndWorst(name, rounds.map(of), 'high')
  const rows = [
    row('IOPS of the client before', ({ iopsBefore }) => iopsBefore),
    row('meanwhile, % of that', ({ share }) => 100 * share),
    row('MB/s that the new replica gets', ({ bandwidth }) => bandwidth / MB),
    row('MB/s that the disk has to spare', ({ spareBandwidth }) => spareBandwidth / MB),
  ]
  return markdownTable([head, ...rows], { align: ['l', 'r', 'r'] })
}

function medianAndWorst(name: string, values: readonly number[], isGood: 'high' | 'low'): string[] {
  const sorted = [...values].sort((a, b) => (isGood === 'low' ? a - b : b - a))
  return [name, rounded(sorted[Math.floor(sorted.length / 2)] ?? 0), rounded(sorted.at(-1) ?? 0)]
}

function tableOf(results: readonly IoResult[]): string {
  const rows = results.map(({ target, runs }) => [
    target,
    spread(runs, ({ iops }) => iops),
    spread(runs, ({ bandwidth }) => bandwidth / MB),
    median(runs, ({ p50 }) => p50),
    median(runs, ({ p99 }) => p99),
    median(runs, ({ cpuPerOperation }) => cpuPerOperation, 1),
  ])
  const head = ['', 'IOPS', 'MB/s', 'p50 us', 'p99 us', 'server CPU us/op']
  return markdownTable([head, ...rows], { align: ['l', 'r', 'r', 'r', 'r', 'r'] })
}

type Run = Measured & { readonly cpuPerOperation: number }

function sorted(runs: readonly Run[], of: (run: Run) => number): number[] {
  return runs.map(of).sort((a, b) => a - b)
}

function median(runs: readonly Run[], of: (run: Run) => number, digits = 0): string {
  const values = sorted(runs, of)
  return rounded(values[Math.floor(values.length / 2)] ?? 0, digits)
}

/** The median, and from where to where. */
function spread(runs: readonly Run[], of: (run: Run) => number): string {
  const values = sorted(runs, of)
  const middle = median(runs, of)
  return values.length < 2 ? middle : `${middle} (${rounded(values[0] ?? 0)}-${rounded(values.at(-1) ?? 0)})`
}

function rounded(value: number, digits = 0): string {
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}
