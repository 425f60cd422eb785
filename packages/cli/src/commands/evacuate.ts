/** `cloudfs evacuate`: a host is to keep nothing any more, so that it can be taken away. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Answer, NodeClient } from '@cloudfs/http'
import { formatBytes, isCloudfsError } from '@cloudfs/interface'
import { Command } from 'commander'
import { action } from '../context.js'
import { examples } from '../examples.js'
import { EXIT, paint, sayJson, talk } from '../output.js'
import { ProgressLine } from '../progress-line.js'

const LOOK_MS = 500
/** The node asked may be started again meanwhile. */
const SILENCE_MS_MAX = 60_000
/** When nothing that is left could be moved for this long, it is said so: it may take a while, or somebody's help. */
const STUCK_MS_MAX = 60_000

/** What passes sooner is no trouble. */
const LASTING_MS = 5_000

type Evacuation = Answer<'evacuation'>
type Leftover = Evacuation['volumes'][number]

export function evacuateCommand(): Command {
  return examples(
    new Command('evacuate')
      .description(
        'have other hosts keep all that a host keeps, be it up or gone, so that it can be taken away; clients go on meanwhile',
      )
      .argument('<host>', 'as `cloudfs nodes` lists it')
      .option('--no-wait', 'come back when it is on its way')
      .option('--cancel', 'end it: the host keeps what it still has, and gets new volumes again')
      .action(
        action(
          async ({ client, isJson }, host: string, { wait, cancel }: { wait: boolean; cancel?: boolean }) => {
            const params = { host }
            if (cancel === true) {
              const now = await client.call('readmit', { params })
              if (isJson) sayJson(now)
              else talk(`host ${host} keeps ${countOf(now.volumes)} and may get new ones`)
              return EXIT.ok
            }
            const begun = await client.call('evacuate', { params })
            talk(`host ${host} is being emptied of ${countOf(begun.volumes)}, and gets no new ones`)
            if (wait) talk('this can be interrupted, and goes on by itself; --cancel ends it')
            const now = wait ? await follow(client, begun) : begun
            if (isJson) sayJson(now)
            return wait ? judge(now) : EXIT.ok
          },
        ),
      ),
    [
      [
        `for host in $(cloudfs nodes | awk '$2 == "down" { print $1 }'); do cloudfs evacuate $host; done`,
        'without the hosts that are gone',
      ],
      ["cloudfs evacuate $(cloudfs nodes | awk 'NR == 2 { print $1 }') --cancel", 'it stays after all'],
    ],
  )
}

/** Shows how far it is, until nothing is left, or what is left does not go. */
async function follow(client: NodeClient, begun: Evacuation): Promise<Evacuation> {
  const progress = new ProgressLine()
  const problems = new Problems()
  let now = begun
  let heardMs = performance.now()
  let movedMs = heardMs
  try {
    while (now.isLeaving && !now.isEmpty) {
      const isStuck = now.volumes.every(({ problem }) => problem !== undefined)
      if (!isStuck) movedMs = performance.now()
      if (isUnknown(now) || performance.now() - movedMs > STUCK_MS_MAX) break
      progress.show(progressText(begun, now))
      for (const text of problems.news(now, performance.now())) {
        progress.clear()
        talk(text)
      }
      await delay(LOOK_MS)
      try {
        now = await client.call('evacuation', { params: { host: begun.host } })
        heardMs = performance.now()
      } catch (error) {
        if (!isCloudfsError(error) || performance.now() - heardMs > SILENCE_MS_MAX) throw error
      }
    }
  } finally {
    progress.clear()
  }
  return now
}

/** Tells of each trouble once, and only if it lasts: between two primaries there is none for a moment. */
class Problems {
  readonly #sinceMs = new Map<string, number>()
  readonly #told = new Set<string>()

  news({ volumes }: Evacuation, nowMs: number): string[] {
    const now = new Map(
      volumes.flatMap((each) =>
        each.problem === undefined ? [] : [[problemOf(each), each.problem.message]],
      ),
    )
    for (const text of this.#sinceMs.keys()) if (!now.has(text)) this.#sinceMs.delete(text)
    return [...now].flatMap(([text, message]) => {
      const sinceMs = this.#sinceMs.get(text) ?? nowMs
      this.#sinceMs.set(text, sinceMs)
      if (nowMs - sinceMs < LASTING_MS || this.#told.has(text)) return []
      this.#told.add(text)
      return [`${text}: ${message}`]
    })
  }
}

function problemOf({ problem, ...each }: Leftover): string {
  return `${nameOf(each)} does not go yet: ${problem?.code ?? ''}`
}

/** Says how it ended. @returns the exit code */
function judge(now: Evacuation): number {
  const { host, isLeaving, isEmpty, volumes, attached, silent } = now
  if (attached.length > 0)
    talk(paint('yellow', `at host ${host} clients use ${attached.join(', ')}`, process.stderr))
  if (isEmpty) {
    talk(`host ${host} keeps nothing any more: it can be taken away`)
    return EXIT.ok
  }
  if (!isLeaving) {
    talk(
      `host ${host} is not being emptied any more, and keeps ${countOf(volumes)}: it came back, or somebody ended it`,
    )
  } else if (isUnknown(now)) {
    talk(
      `host ${host} is gone, and of volumes that only it and ${silent.join(', ')} keep nothing is known: start those`,
    )
  } else {
    talk(`host ${host} still keeps ${countOf(volumes)}; it is tried again and again, until --cancel`)
    for (const each of volumes)
      talk(
        `  ${nameOf(each)}: ${each.problem === undefined ? each.state : `${each.problem.code}: ${each.problem.message}`}`,
      )
  }
  return EXIT.failed
}

/** Nothing is left of what can be seen, but hosts that may know more are away. */
function isUnknown({ isUp, volumes, silent }: Evacuation): boolean {
  return !isUp && volumes.length === 0 && silent.length > 0
}

/** @param begun - what there was to do when this began */
export function progressText(begun: Evacuation, now: Evacuation): string {
  const left = now.volumes.length
  const total = Math.max(begun.volumes.length, left)
  const moving = now.volumes.filter(({ state }) => state === 'moves')
  const dropping = now.volumes.filter(({ state }) => state === 'drops').length
  const behindBytes = moving.reduce((sum, each) => sum + (each.behindBytes ?? 0), 0)
  const stuck = now.volumes.filter(({ problem }) => problem !== undefined).length
  return [
    `${String(total - left)} of ${String(total)} volumes gone`,
    ...(moving.length > 0 ? [`${String(moving.length)} on the way, ${formatBytes(behindBytes)} behind`] : []),
    ...(dropping > 0 ? [`${String(dropping)} to be dropped`] : []),
    ...(stuck > 0 ? [`${String(stuck)} cannot go yet`] : []),
  ].join('; ')
}

function countOf({ length }: readonly unknown[]): string {
  return `${String(length)} volume${length === 1 ? '' : 's'}`
}

function nameOf({ volume, name }: Pick<Leftover, 'volume' | 'name'>): string {
  return name === '' ? volume : `${volume} (${name})`
}
