/**
 * A replica is made anew at an empty host while a client writes as fast as it can: what that takes from the client, and how it
 * compares with what the disk could do besides.
 */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { BenchCluster } from './cluster.js'
import { BLOCK_BYTES, fill, traceNbd } from './fio.js'
import { measureFloor } from './floor.js'
import { meanBetween } from './series.js'
import { RANDOM_WRITES } from './workloads.js'

const COPIES = 3
/** Before it begins. */
const BEFORE_SECONDS = 5
/** In which it is hoped to have ended. */
const DURING_SECONDS = 30
const FLOOR_SECONDS = 3
/** A batch of one block takes a page for its header. */
const LOG_BYTES_PER_BYTE_MAX = 2

export interface Rebuild {
  readonly iopsBefore: number
  /** Of that, until the new replica is in step. */
  readonly share: number
  /** Bytes a second that the new replica got. */
  readonly bandwidth: number
  /** What three files can be appended to at once on this disk, less what the three copies of the client's writes take at most. */
  readonly spareBandwidth: number
}

export interface RebuildOptions {
  readonly directory: string
  readonly sizeBytes: number
  readonly storeBytes: number
  /** The client's node. */
  readonly home: number
  /** Writes a second of the client; left out: as many as there can be. */
  readonly rate?: number
  readonly say: (line: string) => void
}

const Accepted = z.looseObject({})

export async function measureRebuild(options: RebuildOptions): Promise<Rebuild> {
  const { directory, sizeBytes, storeBytes, home, rate, say } = options
  const floor = await measureFloor(join(directory, 'floor'), FLOOR_SECONDS)
  const cluster = await BenchCluster.up(join(directory, 'rebuild'), COPIES + 1, storeBytes)
  try {
    await cluster.at(home, 'newdisk', String(COPIES), `--size=${String(sizeBytes)}`, '--name=bench')
    const { uri } = z
      .object({ uri: z.string() })
      .parse(await cluster.at(home, 'attach', 'bench', '--keep-primary'))
    await fill({ uri, sizeBytes })
    await cluster.whole(home, 'bench')
    const primary = await cluster.primary(home, 'bench')
    const members = await cluster.members(home, 'bench')
    const leaves = members.find((index) => index !== primary && index !== home) ?? 0
    const joins = [1, 2, 3, 4].find((index) => !members.includes(index)) ?? 0
    const began = performance.now()
    const running = traceNbd(
      RANDOM_WRITES,
      { uri, sizeBytes, seconds: BEFORE_SECONDS + DURING_SECONDS, ...(rate !== undefined && { rate }) },
      { path: join(directory, 'rebuild-trace'), everyMs: 100 },
    )
    running.catch(() => undefined)
    await delay(BEFORE_SECONDS * 1000)
    const beginsMs = performance.now() - began
    const body = { leaves: cluster.host(leaves), joins: cluster.host(joins) }
    await cluster.ask(Accepted, home, 'volumes/bench/replace', body)
    await cluster.replaced(home, 'bench', joins)
    const endsMs = performance.now() - began
    const bytes = await cluster.streamBytesReceived(joins)
    const { series } = await running
    const iopsBefore = meanBetween(series, 0, beginsMs)
    const iopsDuring = meanBetween(series, beginsMs, endsMs)
    const result = {
      iopsBefore,
      share: iopsDuring / iopsBefore,
      bandwidth: (bytes * 1000) / (endsMs - beginsMs),
      spareBandwidth:
        COPIES * (floor.sequential.bandwidth - iopsDuring * BLOCK_BYTES * LOG_BYTES_PER_BYTE_MAX),
    }
    say(
      `rebuild: ${(100 * result.share).toFixed(0)} % of IOPS, ${(result.bandwidth / 1e6).toFixed(0)} MB/s ` +
        `of ${(result.spareBandwidth / 1e6).toFixed(0)} MB/s to spare`,
    )
    return result
  } finally {
    await cluster.down()
  }
}
