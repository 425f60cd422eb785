/** `cloudfs heads`: the version that each volume of a node is at. */
import { Command } from 'commander'
import { action } from '../context.js'
import { askEngine, engineOption, engineUrl } from '../engine-http.js'
import { examples } from '../examples.js'
import { EXIT, say, sayJson } from '../output.js'

export function headsCommand(): Command {
  return examples(
    new Command('heads')
      .description(
        'show the head of each volume that a node keeps, as VOLUME:VERSION; equal heads, equal replicas',
      )
      .addOption(engineOption())
      .action(
        action(async ({ client, isJson }, { engine }: { readonly engine?: string }) => {
          const response = await askEngine(await engineUrl(client, engine), '/heads')
          const lines = (await response.text()).split('\n').filter((line) => line !== '')
          if (isJson) sayJson(Object.fromEntries(lines.map((line) => line.split(':'))))
          else if (lines.length > 0) say(lines.join('\n'))
          return EXIT.ok
        }),
      ),
    [['cloudfs heads', 'of this machine’s node; --node asks another']],
  )
}
