/** Many volumes whose primary dies at once: how long each one's client, at a node that lives, waits for an answer. */
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import type { BenchCluster } from './cluster.js'
import { measureEach } from './fio.js'

const SIZE_BYTES = 4 * 1024 ** 2
/** Each client writes so often: so much later than the primary's death the wait may have begun. */
const IOPS = 10
/** Enough for fio to have all connections. */
const EVENT_AFTER_MS = 5_000
const RUN_SECONDS = 20
/** Volumes that are made at a time. */
const LANES = 4

export interface TogetherOptions {
  readonly home: number
  readonly round: number
  readonly volumes: number
  readonly say: (line: string) => void
}

const Made = z.object({ volume: z.string() })
const Volume = z.object({ primary: z.string(), isServing: z.boolean() })
const Attached = z.object({ uri: z.string() })

/** @returns the slowest request of each volume, in ms */
export async function measureTogether(
  cluster: BenchCluster,
  { home, round, volumes, say }: TogetherOptions,
): Promise<number[]> {
  const primary = home === 2 ? 3 : 2
  const uris: string[] = []
  const waiting = Array.from({ length: volumes }, (_, index) => `together-${String(round)}-${String(index)}`)
  const names = [...waiting]
  const lanes = Array.from({ length: LANES }, async () => {
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      const { volume } = await cluster.ask(Made, home, 'volumes', {
        name,
        replicas: 3,
        sizeBytes: SIZE_BYTES,
      })
      uris.push((await cluster.ask(Attached, home, 'attachments', { volume, keepPrimary: true })).uri)
    }
  })
  await Promise.all(lanes)
  for (const name of names) await cluster.whole(home, name)
  for (const name of names) {
    const { primary: leads } = await cluster.ask(Volume, home, `volumes/${name}`)
    if (leads !== cluster.host(primary))
      await cluster.ask(z.unknown(), home, `volumes/${name}/migrate`, { host: cluster.host(primary) })
  }
  say(`${String(volumes)} volumes are led by one node`)
  const running = measureEach(uris, { sizeBytes: SIZE_BYTES, seconds: RUN_SECONDS, iops: IOPS })
  running.catch(() => undefined)
  try {
    await delay(EVENT_AFTER_MS)
    cluster.signal(primary, 'SIGKILL')
    const stallsMs = (await running).map((us) => us / 1000).sort((a, b) => a - b)
    say(
      `round ${String(round)}: median ${stallsMs[volumes >> 1]?.toFixed(0) ?? ''} ms, worst ${stallsMs.at(-1)?.toFixed(0) ?? ''} ms`,
    )
    return stallsMs
  } finally {
    await running.catch(() => undefined)
    await cluster.start(primary)
    for (const name of names) {
      await cluster.whole(home, name)
      for (const path of [`attachments/${name}`, `volumes/${name}`])
        await cluster.ask(z.unknown(), home, path, undefined, 'DELETE')
    }
  }
}
