/** `cloudfs force`: a volume whose majority is lost for good goes on with what one host has. */
import { Command } from 'commander'
import { confirm } from '../confirm.js'
import { action } from '../context.js'
import { examples } from '../examples.js'
import { EXIT, sayJson, talk } from '../output.js'

export function forceCommand(): Command {
  return examples(
    new Command('force')
      .description(
        'have one host go on with what it has of a volume whose majority is lost for good; what only the others had is lost, and they must not come back with their stores',
      )
      .argument('<volume>', 'id, or name where that is unique')
      .option('--host <host>', 'the host that goes on; left out: of those that answer, the one that has most')
      .option('--yes', 'do not ask')
      .action(
        action(
          async ({ client, isJson }, volume: string, { host, yes }: { host?: string; yes?: boolean }) => {
            const plan = await client.call('forcePlan', { params: { volume } })
            const to = host ?? plan.host
            for (const each of plan.missing) talk(`host ${each} does not answer`)
            talk(
              `host ${plan.host} has most of those that answer, up to update ${String(plan.lsn)}; what only the others have is lost`,
            )
            talk('a VM that has the volume attached finds it as after a power failure')
            talk('the other hosts must not come back with what they have of it: format their stores first')
            if (yes !== true) await confirm(`have host ${to} go on alone with ${plan.volume}?`)
            const forced = await client.call('force', { params: { volume }, body: { host: to } })
            if (isJson) sayJson(forced)
            else
              talk(`host ${forced.host} leads ${forced.volume}; \`cloudfs add-replica\` makes it safe again`)
            return EXIT.ok
          },
        ),
      ),
    [
      [
        'cloudfs status || cloudfs force web --yes',
        'if something is wrong: go on with the one copy that is left',
      ],
    ],
  )
}
