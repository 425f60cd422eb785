/** What `failover` measured, in Markdown. */
import type { FailoverReport } from './failover.js'
import type { Gone } from './gone.js'
import type { HandOvers } from './hand-overs.js'
import type { Rebuild } from './rebuild.js'
import { MB, medianAndWorst, rounded, tableOf } from './tables.js'

/** Of one kind of event, over all runs. */
export interface Stalls {
  readonly name: string
  readonly stallsMs: readonly number[]
  readonly othersMs: readonly number[]
}

export function stallsOf({ results, together }: FailoverReport): Stalls[] {
  const all: Stalls[] = results.map(({ event, ...times }) => ({ name: event, ...times }))
  if (together === undefined) return all
  const name = `${String(together.volumes)} volumes whose primary dies together, each`
  return [...all, { name, stallsMs: together.stallsMs.flat(), othersMs: [] }]
}

export function describeFailover(report: FailoverReport): string {
  const { machine, gone, goneAtRates = [], rebuilds, rebuildsAtRates = [], handOvers } = report
  const rows = stallsOf(report).map(({ name, stallsMs, othersMs }) => [
    ...medianAndWorst(name, stallsMs, 'low'),
    ...(othersMs.length === 0 ? ['', ''] : medianAndWorst('', othersMs, 'low').slice(1)),
  ])
  const parts = [
    machine,
    ...(rows.length === 0
      ? []
      : [tableOf(['event', 'median ms', 'worst ms', 'at other times, median', 'and worst'], rows)]),
    ...(handOvers === undefined ? [] : [describeHandOvers(handOvers)]),
    ...(gone === undefined ? [] : [describeGone('under full load', gone)]),
    ...goneAtRates.map((one) => describeGone(`under ${rounded(one.rate)} writes a second`, one)),
    ...(rebuilds === undefined ? [] : [describeRebuilds('under full load', rebuilds)]),
    ...rebuildsAtRates.map(({ rate, rounds }) =>
      describeRebuilds(`under ${rounded(rate)} writes a second`, rounds),
    ),
  ]
  return parts.join('\n\n')
}

function describeHandOvers({ stallsMs, declined, requests }: HandOvers): string {
  const sorted = stallsMs.toSorted((a, b) => a - b)
  const at = (share: number): string => rounded(sorted[Math.floor(share * (sorted.length - 1))] ?? 0, 1)
  return tableOf(
    ['hand-overs to and fro under one client that verifies what it wrote', ''],
    [
      ['done', rounded(stallsMs.length)],
      ['declined', rounded(declined)],
      ['requests answered meanwhile, none with an error or a wrong block', rounded(requests)],
      ['slowest request around each: median, ms', at(0.5)],
      ['99th percentile, ms', at(0.99)],
      ['worst, ms', at(1)],
    ],
  )
}

function describeGone(
  load: string,
  { seconds, rounds }: { readonly seconds: number; readonly rounds: readonly Gone[] },
): string {
  const head = [`a replica is gone for ${String(seconds)} s ${load}, and comes back`, 'median', 'worst']
  const row = (name: string, of: (one: Gone) => number, isGood: 'high' | 'low'): string[] =>
    medianAndWorst(name, rounds.map(of), isGood)
  return tableOf(head, [
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
  ])
}

function describeRebuilds(load: string, rounds: readonly Rebuild[]): string {
  const head = [`a replica is made anew at an empty host ${load}`, 'median', 'worst']
  const row = (name: string, of: (one: Rebuild) => number): string[] =>
    medianAndWorst(name, rounds.map(of), 'high')
  return tableOf(head, [
    row('IOPS of the client before', ({ iopsBefore }) => iopsBefore),
    row('meanwhile, % of that', ({ share }) => 100 * share),
    row('MB/s that the new replica gets', ({ bandwidth }) => bandwidth / MB),
    row('MB/s that the disk has to spare', ({ spareBandwidth }) => spareBandwidth / MB),
  ])
}
