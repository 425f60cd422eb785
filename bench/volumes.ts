/** Many volumes attached at one node: what each costs while nobody uses it, and what all do together that one does alone. */
import { setTimeout as delay } from 'node:timers/promises'
import { fillAll, type Measured, measureAll, measureNbd } from './fio.js'
import { describeMachine } from './machine.js'
import { type LocalNode, LocalNodes } from './nodes.js'
import { cpuMicroseconds, residentBytes } from './processes.js'
import type { Workload } from './workloads.js'

const COPIES = 3
/** Of the one volume, and of all others together. */
const SIZE_BYTES = 1024 ** 3
/** What was done before ends in it. */
const PAUSE_MS = 3_000
const IDLE_MS = 15_000

const WORKLOADS: readonly Pick<Workload, 'name' | 'rw'>[] = [
  { name: 'random write', rw: 'randwrite' },
  { name: 'random read', rw: 'randread' },
]

export interface VolumesOptions {
  readonly directory: string
  readonly volumes: number
  readonly seconds: number
  readonly rounds: number
  readonly say: (line: string) => void
}

/** A node of the cluster in a quiet time. */
export interface Idle {
  /** Of both processes. */
  readonly engineBytes: number
  readonly replicatorBytes: number
  /** Of one core. */
  readonly cpuShare: number
}

interface Shared {
  readonly workload: string
  /** One volume, one connection, as many requests at a time as there are volumes. */
  readonly one: readonly Measured[]
  /** One volume, as many connections, a request at a time on each: what connections cost. */
  readonly connections: readonly Measured[]
  /** All volumes, a request at a time on each. */
  readonly all: readonly Measured[]
}

export interface VolumesReport {
  readonly machine: string
  readonly volumes: number
  /** The node that leads all of them, and one that follows: without a volume, with all attached, and after they were used. */
  readonly idle: readonly { readonly when: string; readonly leads: Idle; readonly follows: Idle }[]
  readonly shared: readonly Shared[]
}

export async function measureVolumes(options: VolumesOptions): Promise<VolumesReport> {
  const { directory, volumes, seconds, rounds, say } = options
  const nodes = await LocalNodes.up(directory, COPIES, SIZE_BYTES * 8)
  try {
    const [first, second] = nodes.all
    if (first === undefined || second === undefined) throw new Error('there are too few nodes')
    const idle: VolumesReport['idle'][number][] = []
    const look = async (when: string): Promise<void> => {
      await delay(PAUSE_MS)
      const [leads, follows] = await Promise.all([idleOf(first), idleOf(second)])
      idle.push({ when, leads, follows })
      say(`${when}: ${(leads.cpuShare * 100).toFixed(2)} % of a core, ${mb(leads)} MB at the primary`)
    }
    await look('no volume')
    const uris: string[] = []
    for (let index = 0; index < volumes; index++)
      uris.push(await nodes.attachedAt(first, Math.floor(SIZE_BYTES / volumes), `volume-${String(index)}`))
    await look(`${String(volumes)} attached`)
    await fillAll(uris, Math.floor(SIZE_BYTES / volumes))
    const uri = await nodes.attachedAt(first, SIZE_BYTES, 'one')
    await fillAll([uri], SIZE_BYTES)
    const shared = WORKLOADS.map(({ name }) => ({
      workload: name,
      ...{ one: [] as Measured[], connections: [] as Measured[], all: [] as Measured[] },
    }))
    for (let round = 1; round <= rounds; round++) {
      for (const [index, { name, rw }] of WORKLOADS.entries()) {
        const deep: Workload = { name, rw, blockBytes: 4096, depth: volumes }
        const single: Workload = { ...deep, depth: 1 }
        const same = Array.from({ length: volumes }, () => uri)
        await delay(PAUSE_MS)
        shared[index]?.one.push(await measureNbd(deep, { uri, sizeBytes: SIZE_BYTES, seconds }))
        await delay(PAUSE_MS)
        const connections = await measureAll(single, { uris: same, sizeBytes: SIZE_BYTES, seconds })
        shared[index]?.connections.push(connections)
        await delay(PAUSE_MS)
        const sizeBytes = Math.floor(SIZE_BYTES / volumes)
        shared[index]?.all.push(await measureAll(single, { uris, sizeBytes, seconds }))
        const said = (['one', 'connections', 'all'] as const).map(
          (each) => `${each} ${shared[index]?.[each].at(-1)?.iops.toFixed(0) ?? ''}`,
        )
        say(`round ${String(round)}: ${name}: ${said.join(', ')} a second`)
      }
    }
    await look('after they were used')
    return { machine: describeMachine(), volumes, idle, shared }
  } finally {
    await nodes.down()
  }
}

async function idleOf({ pids, engine }: LocalNode): Promise<Idle> {
  const before = cpuMicroseconds(pids)
  await delay(IDLE_MS)
  const cpuShare = (cpuMicroseconds(pids) - before) / (IDLE_MS * 1000)
  const replicatorBytes = pids.filter((pid) => pid !== engine).map(residentBytes)
  return { engineBytes: residentBytes(engine), replicatorBytes: replicatorBytes[0] ?? 0, cpuShare }
}

function mb({ engineBytes, replicatorBytes }: Idle): string {
  return ((engineBytes + replicatorBytes) / 1e6).toFixed(0)
}
