/** fio as the client: one job over NBD, or several on files, for a fixed time. */
import { readFileSync, rmSync } from 'node:fs'
import { z } from 'zod'
import type { Series } from './series.js'
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

/** Of random I/O. */
export const BLOCK_BYTES = 4096

export interface NbdRun {
  readonly uri: string
  readonly sizeBytes: number
  readonly seconds: number
}

/** Runs a workload against an NBD server. */
export async function measureNbd(workload: Workload, run: NbdRun): Promise<Measured> {
  return first(await fio(...wordsOf(workload, run), ...timed(run.seconds)), directionOf(workload))
}

/** The same workload over a connection to each of several disks at once. @returns all together */
export async function measureAll(
  workload: Workload,
  { uris, ...run }: Omit<NbdRun, 'uri'> & { readonly uris: readonly string[] },
): Promise<Measured> {
  const words = [
    '--thread',
    '--group_reporting',
    ...wordsOf(workload, run),
    ...timed(run.seconds),
    ...disks(uris),
  ]
  return first(await fioJobs(...words), directionOf(workload))
}

/**
 * Runs a workload, and tells how it went along the way.
 *
 * @param path - of files that fio leaves
 * @param everyMs - a figure each
 * @returns `series`: [ms since its start, IOPS]
 */
export async function traceNbd(
  workload: Workload,
  run: NbdRun & { readonly rate?: number },
  { path, everyMs }: { readonly path: string; readonly everyMs: number },
): Promise<Measured & { readonly series: Series }> {
  const rate = run.rate === undefined ? [] : [`--rate_iops=${String(run.rate)}`]
  const trace = [`--write_iops_log=${path}`, `--log_avg_msec=${String(everyMs)}`]
  const jobs = await fio(...wordsOf(workload, run), ...timed(run.seconds), ...rate, ...trace)
  const log = `${path}_iops.1.log`
  const lines = readFileSync(log, 'utf8').trimEnd().split('\n')
  rmSync(log)
  const series = lines.map((line): Series[number] => {
    const [ms = 0, iops = 0] = line.split(',').map(Number)
    return [ms, iops]
  })
  return { ...first(jobs, directionOf(workload)), series }
}

function wordsOf(
  workload: Workload,
  { uri, sizeBytes }: { readonly uri?: string; readonly sizeBytes: number },
): string[] {
  return [
    '--ioengine=nbd',
    `--rw=${workload.rw}`,
    `--bs=${String(workload.blockBytes)}`,
    `--iodepth=${String(workload.depth)}`,
    `--size=${String(sizeBytes)}`,
    ...(workload.rw.startsWith('rand') ? ['--norandommap', '--random_generator=tausworthe64'] : []),
    ...(workload.flushEvery === undefined ? [] : [`--fsync=${String(workload.flushEvery)}`]),
    ...(uri === undefined ? [] : [`--uri=${uri}`]),
  ]
}

function timed(seconds: number): string[] {
  return ['--time_based', `--runtime=${String(seconds)}`]
}

/** A job for each. */
function disks(uris: readonly string[]): string[] {
  return uris.flatMap((uri, index) => [`--name=disk${String(index)}`, `--uri=${uri}`])
}

function directionOf({ rw }: Workload): 'read' | 'write' {
  return rw.endsWith('read') ? 'read' : 'write'
}

/** It ends at the first block that is not what was written, and leaves no file of what it has verified. */
const VERIFIED = ['--verify=crc32c', '--verify_fatal=1', '--verify_state_save=0']

/**
 * As `measureNbd`, with each request; what was written is read back behind every `verifyEvery` writes, if that is given.
 *
 * @returns besides, for each, [ms since 1970 when it was answered, us that it took]
 */
export async function traceRequests(
  workload: Workload,
  { uri, sizeBytes, seconds, verifyEvery }: NbdRun & { readonly verifyEvery?: number },
  path: string,
): Promise<readonly (readonly [number, number])[]> {
  await fio(
    ...['--ioengine=nbd', `--uri=${uri}`, `--rw=${workload.rw}`, `--bs=${String(workload.blockBytes)}`],
    ...[`--iodepth=${String(workload.depth)}`, `--size=${String(sizeBytes)}`],
    ...timed(seconds),
    ...(verifyEvery === undefined ? [] : [...VERIFIED, `--verify_backlog=${String(verifyEvery)}`]),
    ...[`--write_lat_log=${path}`, '--log_unix_epoch=1'],
  )
  const lines = readFileSync(`${path}_clat.1.log`, 'utf8').trimEnd().split('\n')
  for (const name of ['lat', 'slat', 'clat']) rmSync(`${path}_${name}.1.log`, { force: true })
  return lines.map((line) => {
    const [ms = 0, ns = 0] = line.split(',', 2).map(Number)
    return [ms, ns / 1000]
  })
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
    ...timed(seconds),
    ...disks(uris),
  )
  return jobs.map(({ write }) => write.clat_ns.max / 1000)
}

/** Writes all of a disk once, so that no read is answered without data; or only a part of it. */
export async function fill(part: DiskPart): Promise<void> {
  await pass('write', part)
}

/** Writes all of several disks of one size once. */
export async function fillAll(uris: readonly string[], sizeBytes: number): Promise<void> {
  const words = [
    '--ioengine=nbd',
    '--rw=write',
    '--bs=1M',
    '--iodepth=1',
    `--size=${String(sizeBytes)}`,
    '--thread',
  ]
  await fioJobs(...words, ...disks(uris))
}

/** Reads all of a disk once. */
export async function warm(part: DiskPart): Promise<void> {
  await pass('read', part)
}

interface DiskPart {
  readonly uri: string
  readonly offsetBytes?: number
  /** From the offset on. */
  readonly sizeBytes: number
}

async function pass(rw: 'read' | 'write', { uri, offsetBytes = 0, sizeBytes }: DiskPart): Promise<void> {
  const part = [`--offset=${String(offsetBytes)}`, `--size=${String(sizeBytes)}`]
  await fio('--ioengine=nbd', `--uri=${uri}`, `--rw=${rw}`, '--bs=1M', '--iodepth=4', ...part)
}

/** Writes so many bytes at random places of a disk's first `sizeBytes`, in blocks of 4 KiB at depth 32. */
export async function scatter(
  uri: string,
  { sizeBytes, bytes }: { readonly sizeBytes: number; readonly bytes: number },
): Promise<void> {
  const workload: Workload = { name: '', rw: 'randwrite', blockBytes: BLOCK_BYTES, depth: 32 }
  await fio(...wordsOf(workload, { uri, sizeBytes }), `--io_size=${String(bytes)}`)
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
