/** `cloudfs status` and `cloudfs nodes`: how things are, and what to do. */
import { formatBytes } from '@cloudfs/interface'
import type { Answer } from '@cloudfs/http'
import { Command } from 'commander'
import { action } from '../context.js'
import { examples } from '../examples.js'
import { EXIT, paint, say, sayJson, table } from '../output.js'

const colours = {
  ok: 'green',
  degraded: 'yellow',
  paused: 'red',
  up: 'green',
  suspect: 'yellow',
  down: 'red',
} as const

export function statusCommand(): Command {
  return examples(
    new Command('status')
      .description(
        'nodes and volumes, and what to do about those that are not well; exit code 1 if any is not',
      )
      .action(
        action(async ({ client, isJson }) => {
          const status = await client.call('status')
          if (isJson) sayJson(status)
          else say(statusText(status))
          return status.isDegraded ? EXIT.failed : EXIT.ok
        }),
      ),
    [["cloudfs status || echo 'something is not well'", '']],
  )
}

export function nodesCommand(): Command {
  return examples(
    new Command('nodes').description('list the nodes that this one knows').action(
      action(async ({ client, isJson }) => {
        const nodes = await client.call('nodes')
        if (isJson) sayJson(nodes)
        else say(nodesText(nodes))
        return EXIT.ok
      }),
    ),
    [['cloudfs nodes', '']],
  )
}

export function statusText({ nodes, volumes }: Answer<'status'>): string {
  const rows = volumes.map(({ volume, name, state, text }) => [volume, name === '' ? '-' : name, state, text])
  const list = volumes.length === 0 ? 'no volumes' : table([['VOLUME', 'NAME', 'STATE', ''], ...rows])
  return `${nodesText(nodes)}\n\n${coloured(list)}`
}

function nodesText(nodes: Answer<'nodes'>): string {
  const rows = nodes.map(({ host, isSelf, state, zone, draining, stores, httpPort }) => {
    const remarks = [...(isSelf ? ['(asked)'] : []), ...(draining ? ['gets nothing new'] : [])]
    const capacityBytes = stores.reduce((sum, each) => sum + each.capacityBytes, 0)
    const freeBytes = stores.reduce((sum, each) => sum + each.freeBytes, 0)
    const room = `${formatBytes(freeBytes)} of ${formatBytes(capacityBytes)}`
    return [host, state, zone === '' ? '-' : zone, room, String(httpPort), remarks.join(' ')]
  })
  return coloured(table([['NODE', 'STATE', 'ZONE', 'FREE', 'HTTP', ''], ...rows]))
}

function coloured(text: string): string {
  return text.replace(/(?<= {2})(ok|degraded|paused|up|suspect|down)(?= |$)/gm, (word) =>
    paint(colours[word as keyof typeof colours], word),
  )
}
