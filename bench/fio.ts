/** fio as the client: one job over NBD, or several on files, for a fixed time. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { runTool } from './tool.js'
import type { Workload } from './workloads.js'

export interface Measured {
  readonly iops: number
  /** Bytes a second. */
  readonly bandwidth: number
  /** Completion latency in us, as the client sees it. */
  readonly p50: number
  readonly p99: number
  /** The slowest. */
  readonly max: number
  readonly operations: number
}

const Direction = z.object({
  iops: z.number(),
  bw_bytes: z.number(),
  total_ios: z.number(),
  clat_ns: z.object({ max: z.number(), percentile: z.record(z.string(), z.number()).optional() }),
})
const Output = z.object({ jobs: z.array(z.object({ read: Direction, write: Direction })).min(1) })

/** Of random writes that are traced. */
export const BLOCK_BYTES = 4096

export interface NbdRun {
  readonly uri: string
  readonly sizeBytes: number
  readonly seconds: number
}

/** Runs a workload against an NBD server. */
export async function measureNbd(workload: Workload, { uri, sizeBytes, seconds }: NbdRun): Promise<Measured> {
  const flush = workload.flushEvery === undefined ? [] : [`--fsync=${String(workload.flushEvery)}`]
  const jobs = await fio(
    '--ioengine=nbd',
    `--uri=${uri}`,
    `--rw=${workload.rw}`,
    `--bs=${String(workload.blockBytes)}`,
    `--iodepth=${String(workload.depth)}`,
    `--size=${String(sizeBytes)}`,
    ...flush,
    '--time_based',
    `--runtime=${String(seconds)}`,
  )
  return first(jobs, workload.rw.endsWith('read') ? 'read' : 'write')
}

/** A write each now and then to each of many disks, for a time. @returns the slowest of each, in us */
export async function measureEach(
  uris: readonly string[],
  {
    sizeBytes,
    seconds,
    iops,
  }: { readonly sizeBytes: number; readonly seconds: number; readonly iops: number },
): Promise<number[]> {
  const common = ['--ioengine=nbd', '--rw=randwrite', '--bs=4096', '--iodepth=1', '--thread']
  const jobs = await fioJobs(
    ...common,
    `--size=${String(sizeBytes)}`,
    `--rate_iops=${String(iops)}`,
    '--time_based',
    `--runtime=${String(seconds)}`,
    ...uris.flatMap((uri, index) => [`--name=volume${String(index)}`, `--uri=${uri}`]),
  )
  return jobs.map(({ write }) => write.clat_ns.max / 1000)
}

/** Random writes at depth 16, at most `rate` a second, for a time, as measured along the way. @returns [ms since its start, IOPS], about each 100 ms */
export async function traceIops(
  { uri, sizeBytes, seconds, rate }: NbdRun & { readonly rate?: number },
  path: string,
): Promise<readonly (readonly [number, number])[]> {
  await fio(
    ...['--ioengine=nbd', `--uri=${uri}`, '--rw=randwrite', `--bs=${String(BLOCK_BYTES)}`, '--iodepth=16'],
    ...(rate === undefined ? [] : [`--rate_iops=${String(rate)}`]),
    ...[`--size=${String(sizeBytes)}`, '--time_based', `--runtime=${String(seconds)}`],
    ...[`--write_iops_log=${path}`, '--log_avg_msec=100'],
  )
  const lines = readFileSync(`${path}_iops.1.log`, 'utf8').trimEnd().split('\n')
  return lines.map((line) => {
    const [ms = 0, iops = 0] = line.split(',').map(Number)
    return [ms, iops]
  })
}

/** Writes all of a disk once, so that no read is answered without data. */
export async function fill({ uri, sizeBytes }: Omit<NbdRun, 'seconds'>): Promise<void> {
  await fio(
    '--ioengine=nbd',
    `--uri=${uri}`,
    '--rw=write',
    '--bs=1M',
    '--iodepth=4',
    `--size=${String(sizeBytes)}`,
  )
}

/** Reads all of a disk once. */
export async function warm({ uri, sizeBytes }: Omit<NbdRun, 'seconds'>): Promise<void> {
  await fio(
    '--ioengine=nbd',
    `--uri=${uri}`,
    '--rw=read',
    '--bs=1M',
    '--iodepth=4',
    `--size=${String(sizeBytes)}`,
  )
}

/** The slowest of the jobs that fio runs side by side. */
export async function measureFiles(...args: readonly string[]): Promise<Measured> {
  const jobs = await fio(...args)
  const each = jobs.map((_, index) => first(jobs.slice(index), 'write'))
  return each.reduce((slowest, job) => (job.iops < slowest.iops ? job : slowest))
}

type Jobs = z.output<typeof Output>['jobs']

function fio(...args: readonly string[]): Promise<Jobs> {
  return fioJobs('--name=bench', ...args)
}

async function fioJobs(...args: readonly string[]): Promise<Jobs> {
  const text = await runTool('fio', '--output-format=json', '--randrepeat=0', ...args)
  // Warnings may stand in front.
  return Output.parse(JSON.parse(text.slice(text.indexOf('{')))).jobs
}

function first(jobs: Jobs, direction: 'read' | 'write'): Measured {
  const [job] = jobs
  if (job === undefined) throw new Error('fio ran no job')
  const { iops, bw_bytes, total_ios, clat_ns } = job[direction]
  const at = (percentile: string): number => (clat_ns.percentile?.[percentile] ?? 0) / 1000
  return {
    iops,
    bandwidth: bw_bytes,
    operations: total_ios,
    p50: at('50.000000'),
    p99: at('99.000000'),
    max: clat_ns.max / 1000,
  }
}
