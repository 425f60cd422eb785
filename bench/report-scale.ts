/** What `scale`, `volumes` and `steady` measured, in Markdown; beside each figure the goal it is held against. */
import type { IndexSize } from './index-size.js'
import type { Restart } from './restart.js'
import type { ScaleReport } from './scale.js'
import type { Sparse } from './sparse.js'
import type { SteadyReport } from './steady.js'
import { GIB, MB, median, medianAndWorst, rounded, spread, tableOf } from './tables.js'
import type { CheckpointSeen } from './watch.js'
import type { Idle, VolumesReport } from './volumes.js'

const MIB = 1024 ** 2

export function describeScale({ machine, sparse, restarts }: ScaleReport): string {
  const parts = [machine]
  if (sparse !== undefined) parts.push(describeSparse(sparse))
  if (restarts !== undefined) {
    const rows = restarts.restarts.map(restartRow)
    parts.push(
      tableOf(
        ['after `kill -9`', 'log behind the checkpoint', 'first read, ms', 'of it starting the process, ms'],
        rows,
      ),
    )
    const indexes = restarts.indexes.map((each) => ['all of a volume written', ...indexCells(each)])
    const sparsely =
      sparse === undefined ? [] : [['a block here and there in 1 TiB', ...indexCells(sparse.index)]]
    parts.push(tableOf(['index', 'blocks mapped', 'MiB', 'bytes a block'], [...indexes, ...sparsely]))
    parts.push(
      checkpointTable('checkpoints while a written volume is written at random', restarts.checkpoints),
    )
  }
  return parts.join('\n\n')
}

function describeSparse(sparse: Sparse): string {
  const { mapBytesMax, idleBytes, measured, samples, checkpoints } = sparse
  const most = (of: (sample: (typeof samples)[number]) => number): string =>
    `${rounded(Math.max(...samples.map(of)) / MIB)} MiB`
  const rows = [
    ['map memory, as configured', `${rounded(mapBytesMax / MIB)} MiB`],
    ['map pages in memory, most', most(({ mapBytes }) => mapBytes)],
    ['of them not written by a checkpoint yet, most', most(({ dirtyBytes }) => dirtyBytes)],
    ['the process resident, most', most(({ residentBytes }) => residentBytes)],
    ['resident before the first write', `${rounded(idleBytes / MIB)} MiB`],
    ['written', `${rounded((measured.operations * 4096) / GIB, 1)} GiB`],
    ['IOPS', rounded(measured.iops)],
    [
      'p50 / p99 / worst, ms',
      [measured.p50, measured.p99, measured.max].map((us) => rounded(us / 1000, 1)).join(' / '),
    ],
  ]
  const table = tableOf(['1 TiB, a block here and a block there, depth 32', ''], rows)
  return `${table}\n\n${checkpointTable('checkpoints meanwhile', checkpoints)}`
}

function restartRow({ mappedBytes, logBytes, isCold, firstReadMs, controlMs }: Restart): string[] {
  const name = `${rounded(mappedBytes / GIB)} GiB mapped, ${isCold ? 'nothing cached' : 'cached'}`
  return [name, `${rounded(logBytes / GIB, 2)} GiB`, spread(firstReadMs), median(controlMs)]
}

function indexCells({ extents, indexBytes }: IndexSize): string[] {
  return [rounded(extents), rounded(indexBytes / MIB), rounded(indexBytes / extents, 2)]
}

function checkpointTable(name: string, checkpoints: readonly CheckpointSeen[]): string {
  if (checkpoints.length === 0) return `${name}: none`
  return tableOf(
    [`${name} (${String(checkpoints.length)})`, 'median', 'worst'],
    [
      medianAndWorst(
        'took, ms',
        checkpoints.map(({ tookMs }) => tookMs),
        'low',
      ),
      medianAndWorst(
        'wrote, MiB',
        checkpoints.map(({ writtenBytes }) => writtenBytes / MIB),
        'low',
      ),
    ],
  )
}

export function describeVolumes({ machine, volumes, idle, shared }: VolumesReport): string {
  const rows = shared.map(({ workload, one, connections, all }) => [
    `${workload}, ${String(volumes)} at a time`,
    ...[one, connections, all].map((runs) => spread(runs.map(({ iops }) => iops))),
  ])
  const together = tableOf(
    [
      'IOPS',
      'one volume, one connection',
      `one volume, ${String(volumes)} connections`,
      `${String(volumes)} volumes`,
    ],
    rows,
  )
  const [before, after] = idle
  const growth = (of: (idle: Idle) => number, at: 'leads' | 'follows'): string =>
    before === undefined || after === undefined
      ? ''
      : rounded((of(after[at]) - of(before[at])) / volumes / MB, 2)
  const of = [
    ['the engine', ({ engineBytes }: Idle) => engineBytes],
    ['the replicator', ({ replicatorBytes }: Idle) => replicatorBytes],
  ] as const
  const memory = tableOf(
    ['MB for each idle volume', 'at its primary', 'at a replica'],
    of.map(([name, bytesOf]) => [name, growth(bytesOf, 'leads'), growth(bytesOf, 'follows')]),
  )
  const states = tableOf(
    [
      'a node in a quiet time',
      '% of a core at the primary',
      'at a replica',
      'MB at the primary',
      'at a replica',
    ],
    idle.map(({ when, leads, follows }) => [
      when,
      ...[leads, follows].map(({ cpuShare }) => rounded(cpuShare * 100, 2)),
      ...[leads, follows].map(({ engineBytes, replicatorBytes }) =>
        rounded((engineBytes + replicatorBytes) / MB),
      ),
    ]),
  )
  return [machine, together, memory, states].join('\n\n')
}

export function describeSteady({ machine, runs }: SteadyReport): string {
  const rows = runs.map(
    ({ depth, seconds, measured, logBytesPerByte, wireBytesPerByte, checkpoints, checkpointMs }) => [
      `random write, depth ${String(depth)}, ${String(seconds)} s`,
      rounded(measured.iops),
      rounded(measured.p50),
      rounded(measured.p99),
      rounded(measured.max / 1000),
      rounded(measured.p99 / measured.p50, 1),
      rounded(logBytesPerByte, 3),
      rounded(wireBytesPerByte, 3),
      `${String(checkpoints)} of ${rounded(checkpointMs)} ms`,
    ],
  )
  const head = [
    ...['', 'IOPS', 'p50 us', 'p99 us', 'worst ms', 'p99 / p50', 'log bytes for a byte'],
    ...['wire bytes for a byte, each replica', 'checkpoints'],
  ]
  return `${machine}\n\n${tableOf(head, rows)}`
}
