/** `cloudfs scrub`: the store of the node asked is read from end to end, while it serves, and what is bad repaired. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Answer, NodeClient } from '@cloudfs/http'
import { formatBytes } from '@cloudfs/interface'
import { Command } from 'commander'
import { action } from '../context.js'
import { examples } from '../examples.js'
import { EXIT, paint, sayJson, talk } from '../output.js'
import { ProgressLine } from '../progress-line.js'

const LOOK_MS = 250

type Scrub = Answer<'scrub'>

export function scrubCommand(): Command {
  return examples(
    new Command('scrub')
      .description(
        'read the store of the node asked from end to end while it serves, and have bad blocks from other replicas',
      )
      .option('--no-wait', 'come back when it has begun')
      .option('--status', 'begin nothing: say how far it is, or what it found last')
      .addHelpText('after', '\nExit codes: 0 = all is good or repaired, 1 = something stays bad')
      .action(
        action(async ({ client, isJson }, { wait, status }: { wait: boolean; status?: boolean }) => {
          const begun = status === true ? await client.call('scrub') : await client.call('startScrub')
          const now = status === true || !wait ? begun : await follow(client, begun)
          if (isJson) sayJson(now)
          else talk(describe(now))
          return now.corrupt > now.repaired || now.pagesCorrupt > 0 ? EXIT.failed : EXIT.ok
        }),
      ),
    [
      ['cloudfs scrub', 'behind a move of disks, say'],
      ['cloudfs scrub --status', 'of the one that each node makes by itself, too'],
    ],
  )
}

async function follow(client: NodeClient, begun: Scrub): Promise<Scrub> {
  const progress = new ProgressLine()
  let now = begun
  try {
    while (now.isRunning) {
      progress.show(describe(now))
      await delay(LOOK_MS)
      now = await client.call('scrub')
    }
  } finally {
    progress.clear()
  }
  return now
}

/** One line for people. */
function describe({
  isRunning,
  readBytes,
  liveBytes,
  corrupt,
  repaired,
  pagesCorrupt,
  passes,
  endedMs,
}: Scrub): string {
  if (!isRunning && passes === 0) return 'nothing has been read since the engine started'
  const read = isRunning
    ? `reading: ${formatBytes(readBytes)} of ${formatBytes(liveBytes)}`
    : `read ${formatBytes(readBytes)}, ended ${endedMs === undefined ? 'early' : new Date(endedMs).toISOString()}`
  const stays = corrupt - repaired
  const bad = [
    ...(corrupt > 0 ? [`${String(repaired)} of ${String(corrupt)} bad blocks repaired`] : []),
    ...(stays > 0
      ? [paint('red', `${String(stays)} stay bad: no replica that answers has them good`, process.stderr)]
      : []),
    ...(pagesCorrupt > 0
      ? [paint('red', `${String(pagesCorrupt)} bad map pages: replace this replica`, process.stderr)]
      : []),
  ]
  return `${read}; ${bad.length === 0 ? 'nothing bad' : bad.join('; ')}`
}
