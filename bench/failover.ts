/**
 * How long I/O stalls when a host dies, hangs or hands over: the slowest request of a client at depth 16 whose own node
 * lives, at a volume of three copies that another node leads.
 */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { BenchCluster } from './cluster.js'
import { fill, traceRequests } from './fio.js'
import { type Gone, measureGone } from './gone.js'
import { type HandOvers, measureHandOvers } from './hand-overs.js'
import { describeMachine } from './machine.js'
import { measureRebuild, type Rebuild } from './rebuild.js'
import { measureTogether } from './together.js'
import { RANDOM_WRITES } from './workloads.js'

/** The client's node. */
const HOME = 1
const SIZE_BYTES = 256 * 1024 ** 2
const STORE_BYTES = 2 * 1024 ** 3
/** Writes a second of clients that do not ask all they can: a quiet one, and one that leaves the processors room. */
const RATES = [200, 20_000]
/** Into the run, so that it is under way. */
const EVENT_AFTER_MS = 2_000
/** What is answered so long behind the event may have waited for it. */
const WAKE_MS = 1_000

interface Event {
  readonly name: string
  readonly happen: (cluster: BenchCluster, primary: number, replica: number) => Promise<void>
  readonly mend: (cluster: BenchCluster, primary: number, replica: number) => Promise<void>
}

const nothing = (): Promise<void> => Promise.resolve()
const send =
  (whom: 'primary' | 'replica', name: NodeJS.Signals): Event['happen'] =>
  (cluster, primary, replica) => {
    cluster.signal(whom === 'primary' ? primary : replica, name)
    return Promise.resolve()
  }
const start =
  (whom: 'primary' | 'replica'): Event['mend'] =>
  (cluster, primary, replica) =>
    cluster.start(whom === 'primary' ? primary : replica)

const EVENTS: readonly Event[] = [
  { name: 'nothing', happen: nothing, mend: nothing },
  { name: 'primary SIGKILL', happen: send('primary', 'SIGKILL'), mend: start('primary') },
  { name: 'primary SIGSTOP', happen: send('primary', 'SIGSTOP'), mend: send('primary', 'SIGCONT') },
  {
    name: 'primary cut off from both replicas',
    happen: (cluster, primary) => cluster.cutOff(primary),
    mend: (cluster, primary) => cluster.rejoin(primary),
  },
  { name: 'replica SIGKILL', happen: send('replica', 'SIGKILL'), mend: start('replica') },
  { name: 'replica SIGSTOP', happen: send('replica', 'SIGSTOP'), mend: send('replica', 'SIGCONT') },
  { name: 'hand-over', happen: (cluster, _, replica) => cluster.lead(HOME, 'bench', replica), mend: nothing },
]

export interface FailoverOptions {
  readonly directory: string
  readonly rounds: number
  /** Of each run. */
  readonly seconds: number
  /** Only events whose name contains this. */
  readonly only: string
  /** That lose their primary together; 0: not tried. */
  readonly volumes: number
  /** One behind the other under one client; 0: not tried. */
  readonly handOvers: number
  /** For which a replica is gone. */
  readonly goneSeconds: number
  readonly say: (line: string) => void
}

export interface FailoverReport {
  readonly machine: string
  readonly rounds: number
  readonly results: readonly {
    readonly event: string
    /** The slowest request that was under way at the event, or soon after, in ms, in each run. */
    readonly stallsMs: readonly number[]
    /** The slowest of all others: what this machine does by itself. */
    readonly othersMs: readonly number[]
  }[]
  /** The slowest request of each volume, in ms, in each round. */
  readonly together?: { readonly volumes: number; readonly stallsMs: readonly (readonly number[])[] }
  readonly gone?: { readonly seconds: number; readonly rounds: readonly Gone[] }
  /** The same with clients that write at fixed rates. */
  readonly goneAtRates?: readonly {
    readonly seconds: number
    readonly rate: number
    readonly rounds: readonly Gone[]
  }[]
  readonly rebuilds?: readonly Rebuild[]
  readonly rebuildsAtRates?: readonly { readonly rate: number; readonly rounds: readonly Rebuild[] }[]
  /** To and fro, under one client. */
  readonly handOvers?: HandOvers
}

export async function measureFailover(options: FailoverOptions): Promise<FailoverReport> {
  const rebuilds: Rebuild[] = []
  const paced = RATES.map((rate) => ({ rate, rounds: [] as Rebuild[] }))
  if ('rebuild of a replica'.includes(options.only)) {
    const plan = { ...options, sizeBytes: SIZE_BYTES, storeBytes: STORE_BYTES, home: HOME }
    for (let round = 1; round <= options.rounds; round++) {
      rebuilds.push(await measureRebuild(plan))
      for (const { rate, rounds } of paced) rounds.push(await measureRebuild({ ...plan, rate }))
    }
  }
  const report = await measureBroken(options)
  return { ...report, ...(rebuilds.length > 0 && { rebuilds, rebuildsAtRates: paced }) }
}

/** All that is done to one cluster. */
async function measureBroken(options: FailoverOptions): Promise<FailoverReport> {
  const cluster = await BenchCluster.up(join(options.directory, 'cluster'), 3, STORE_BYTES)
  try {
    await cluster.at(HOME, 'newdisk', '3', `--size=${String(SIZE_BYTES)}`, '--name=bench')
    const attached = await cluster.at(HOME, 'attach', 'bench', '--keep-primary')
    const { uri } = z.object({ uri: z.string() }).parse(attached)
    await fill({ uri, sizeBytes: SIZE_BYTES })
    const events = EVENTS.filter(({ name }) => name.includes(options.only))
    const results = events.map(({ name }) => ({
      event: name,
      stallsMs: [] as number[],
      othersMs: [] as number[],
    }))
    for (let round = 1; round <= options.rounds; round++) {
      for (const [index, event] of events.entries()) {
        const { stallMs, otherMs } = await measureOne(cluster, event, uri, options)
        results[index]?.stallsMs.push(stallMs)
        results[index]?.othersMs.push(otherMs)
        options.say(
          `round ${String(round)}: ${event.name}: ${stallMs.toFixed(1)} ms, without it ${otherMs.toFixed(1)} ms`,
        )
      }
    }
    const gone: Gone[] = []
    const gonePaced = RATES.map((rate) => ({ seconds: options.goneSeconds, rate, rounds: [] as Gone[] }))
    const together: (readonly number[])[] = []
    for (let round = 1; round <= options.rounds; round++) {
      if ('replica gone and back'.includes(options.only)) {
        await cluster.whole(HOME, 'bench')
        gone.push(await measureGone(cluster, { uri, sizeBytes: SIZE_BYTES, home: HOME, ...options }))
      }
      for (const { rate, rounds } of gonePaced) {
        if (!`replica gone and back under ${String(rate)} writes a second`.includes(options.only)) continue
        await cluster.whole(HOME, 'bench')
        rounds.push(await measureGone(cluster, { uri, sizeBytes: SIZE_BYTES, home: HOME, rate, ...options }))
      }
      if ('volumes whose primary dies together'.includes(options.only))
        together.push(await measureTogether(cluster, { home: HOME, round, ...options }))
    }
    const handOvers =
      'to and fro'.includes(options.only) && options.handOvers > 0
        ? await measureHandOvers(cluster, {
            ...{ uri, sizeBytes: SIZE_BYTES, home: HOME, between: [2, 3], count: options.handOvers },
            ...options,
          })
        : undefined
    const goneAtRates = gonePaced.filter(({ rounds }) => rounds.length > 0)
    return {
      machine: describeMachine(),
      rounds: options.rounds,
      results,
      ...(gone.length > 0 && { gone: { seconds: options.goneSeconds, rounds: gone } }),
      ...(goneAtRates.length > 0 && { goneAtRates }),
      ...(handOvers && { handOvers }),
      ...(together.length > 0 && { together: { volumes: options.volumes, stallsMs: together } }),
    }
  } finally {
    await cluster.down()
  }
}

async function measureOne(
  cluster: BenchCluster,
  event: Event,
  uri: string,
  { directory, seconds }: FailoverOptions,
): Promise<{ readonly stallMs: number; readonly otherMs: number }> {
  await cluster.whole(HOME, 'bench')
  const leads = await cluster.primary(HOME, 'bench')
  const primary = leads === HOME || leads === 0 ? 2 : leads
  await cluster.lead(HOME, 'bench', primary)
  const replica = primary === 2 ? 3 : 2
  await cluster.whole(HOME, 'bench')
  const running = traceRequests(
    RANDOM_WRITES,
    { uri, sizeBytes: SIZE_BYTES, seconds },
    join(directory, 'requests'),
  )
  running.catch(() => undefined)
  try {
    await delay(EVENT_AFTER_MS)
    const beganMs = Date.now()
    await event.happen(cluster, primary, replica)
    const wokenMs = Date.now() + WAKE_MS
    const [around, others] = [[] as number[], [] as number[]]
    for (const [answeredMs, us] of await running)
      (answeredMs >= beganMs && answeredMs <= wokenMs ? around : others).push(us / 1000)
    return { stallMs: greatest(around), otherMs: greatest(others) }
  } finally {
    await running.catch(() => undefined)
    await event.mend(cluster, primary, replica)
  }
}

function greatest(values: readonly number[]): number {
  return values.reduce((most, value) => Math.max(most, value), 0)
}

/** Rounds of two runs together; what only one of them has is taken as it is, of what is no rounds the later. */
export function addFailover(before: FailoverReport, after: FailoverReport): FailoverReport {
  const later = new Map(after.results.map((each) => [each.event, each]))
  const results = before.results.map((each) => {
    const added = later.get(each.event)
    later.delete(each.event)
    return {
      ...each,
      stallsMs: [...each.stallsMs, ...(added?.stallsMs ?? [])],
      othersMs: [...each.othersMs, ...(added?.othersMs ?? [])],
    }
  })
  const all = [...results, ...later.values()]
  const place = (event: string): number => EVENTS.findIndex(({ name }) => name === event)
  return {
    ...before,
    ...after,
    rounds: Math.max(before.rounds, ...all.map(({ stallsMs }) => stallsMs.length)),
    results: all.sort((a, b) => place(a.event) - place(b.event)),
  }
}
