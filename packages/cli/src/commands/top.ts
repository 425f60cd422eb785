/** `cloudfs top`: volumes and nodes with their rates, again and again. */
import { setTimeout as delay } from 'node:timers/promises'
import { formatBytes, isCloudfsError, UsageError } from '@cloudfs/interface'
import type { Answer, NodeClient } from '@cloudfs/http'
import { Command } from 'commander'
import { action } from '../context.js'
import { examples } from '../examples.js'
import { EXIT, paint, say, table } from '../output.js'

const INTERVAL_S_DEFAULT = '2'
const INTERVAL_S_MIN = 0.1
const SECOND_MS = 1000

type Volumes = Answer<'volumes'>

interface Sample {
  readonly atMs: number
  readonly volumes: Volumes
  readonly nodes: Answer<'nodes'>
}

/** A picture of the cluster: what `--json` prints, one line each. */
export interface Picture {
  readonly seconds: number
  readonly nodes: { readonly up: number; readonly known: number; readonly freeBytes: number }
  readonly volumes: readonly {
    readonly volume: string
    readonly name: string
    readonly lsn: number
    /** Updates a second since the sample before. */
    readonly updatesPerSecond: number
    /** Updates that are not committed yet. */
    readonly uncommitted: number
    readonly replicas: number
    readonly inStep: number
    readonly attachedAt: string | null
  }[]
}

export function topCommand(): Command {
  return examples(
    new Command('top')
      .description('volumes with their rates, redrawn; into a file or pipe, one table after another')
      .option('--interval <seconds>', 'between pictures', INTERVAL_S_DEFAULT)
      .option('--count <n>', 'pictures, then end; left out: until Ctrl-C')
      .action(
        action(async ({ client, isJson }, { interval, count }: { interval: string; count?: string }) => {
          const intervalMs = intervalOf(interval)
          const countMax = count === undefined ? Number.POSITIVE_INFINITY : countOf(count)
          const ended = new AbortController()
          const end = (): void => {
            ended.abort()
          }
          process.once('SIGINT', end).once('SIGTERM', end)
          const show = isJson ? showJson : showTable()
          let before = await sample(client)
          for (let shown = 0; shown < countMax; shown++) {
            await delay(intervalMs, undefined, { signal: ended.signal }).catch(() => undefined)
            if (ended.signal.aborted) break
            try {
              const now = await sample(client)
              show(pictureOf(before, now))
              before = now
            } catch (error) {
              // A node that restarts is looked at again; asked for a number of pictures, a script wants to know.
              if (!isCloudfsError(error) || count !== undefined) throw error
              say(error.message)
            }
          }
          return EXIT.ok
        }),
      ),
    [['cloudfs top --count 1 --interval 1', 'one picture; rates over one second']],
  )
}

async function sample(client: NodeClient): Promise<Sample> {
  const [volumes, nodes] = await Promise.all([client.call('volumes'), client.call('nodes')])
  return { atMs: performance.now(), volumes, nodes }
}

/** Rates are differences: a volume that was not there before has none yet. */
export function pictureOf(before: Sample, now: Sample): Picture {
  const seconds = (now.atMs - before.atMs) / SECOND_MS
  const lsnBefore = new Map(before.volumes.map(({ volume, lsn }) => [volume, lsn]))
  const stores = now.nodes.flatMap((each) => each.stores)
  return {
    seconds,
    nodes: {
      up: now.nodes.filter(({ state }) => state === 'up').length,
      known: now.nodes.length,
      freeBytes: stores.reduce((sum, { freeBytes }) => sum + freeBytes, 0),
    },
    volumes: now.volumes
      .map(({ volume, name, lsn, committedLsn, replicas, attachments }) => ({
        volume,
        name,
        lsn,
        updatesPerSecond: Math.max(0, (lsn - (lsnBefore.get(volume) ?? lsn)) / seconds),
        uncommitted: Math.max(0, lsn - committedLsn),
        replicas: replicas.length,
        inStep: replicas.filter(({ state }) => state === 'in-step').length,
        attachedAt: attachments[0]?.host ?? null,
      }))
      .sort((a, b) => b.updatesPerSecond - a.updatesPerSecond || (a.volume < b.volume ? -1 : 1)),
  }
}

export function textOf({ nodes, volumes, seconds }: Picture): string {
  const heading = `${String(nodes.up)} of ${String(nodes.known)} nodes up, ${formatBytes(nodes.freeBytes)} free; rates over ${seconds.toFixed(1)} s`
  const rows = volumes.map((each) => [
    each.volume,
    each.name === '' ? '-' : each.name,
    each.updatesPerSecond.toFixed(each.updatesPerSecond < 10 ? 1 : 0),
    String(each.lsn),
    String(each.uncommitted),
    `${String(each.inStep)}/${String(each.replicas)}`,
    each.attachedAt?.slice(0, 12) ?? '-',
  ])
  const header = ['VOLUME', 'NAME', 'UPDATES/S', 'LSN', 'UNCOMMITTED', 'IN STEP', 'ATTACHED AT']
  return `${heading}\n\n${volumes.length === 0 ? 'no volumes' : table([header, ...rows])}`
}

function showJson(picture: Picture): void {
  say(JSON.stringify(picture))
}

/** On a terminal each picture takes the place of the one before, and no more lines than there are. */
function showTable(): (picture: Picture) => void {
  let count = 0
  return (picture) => {
    const text = textOf(picture)
    if (process.stdout.isTTY) {
      const lines = text.split('\n').slice(0, Math.max(1, process.stdout.rows - 1))
      process.stdout.write(`\u001b[H\u001b[J${paint('bold', lines[0] ?? '')}\n${lines.slice(1).join('\n')}\n`)
    } else {
      say(count === 0 ? text : `\n${text}`)
    }
    count++
  }
}

function intervalOf(text: string): number {
  const seconds = Number(text)
  if (seconds >= INTERVAL_S_MIN && seconds <= 3600) return seconds * SECOND_MS
  throw new UsageError(`--interval is ${String(INTERVAL_S_MIN)} to 3600 seconds`)
}

function countOf(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new UsageError('--count is a number of pictures')
}
