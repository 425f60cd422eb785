/** `cloudfs replicator [HOST-ID] [PEER…]`: runs a node in the foreground. */
import { setFlagsFromString } from 'node:v8'
import { HostId, UsageError } from '@cloudfs/interface'
import { CONFIG_KEYS, type ConfigKey, flagOf, loadConfig } from '@cloudfs/replicator/config'
import { Command, Option } from 'commander'
import { examples } from '../examples.js'

const keys = Object.keys(CONFIG_KEYS) as ConfigKey[]
const switches: readonly ConfigKey[] = ['mdns', 'dht']

export function replicatorCommand(): Command {
  const command = new Command('replicator')
    .description('run a node in the foreground; SIGTERM leaves its engine serving, Ctrl-C ends both')
    .argument('[who...]', 'the id of this host (40 hex digits), then other nodes as HOST or HOST:PORT')
    .option('--config <file>', 'a JSON file of the keys below')
  for (const key of keys) {
    const value = switches.includes(key) ? '[yes]' : '<value>'
    command.addOption(new Option(`${flagOf(key)} ${value}`, CONFIG_KEYS[key]))
  }
  examples(command, [
    [
      'cloudfs replicator --directory=node --store-size=512M --segment-size=8M --http-port=0 --engine-http-port=0 --peer-port=0 --nbd-port=0',
      'a node with ports of its own, alone',
    ],
  ])
  return command.action(async (who: string[], options: Record<string, string | true | undefined>) => {
    const first = who[0]?.toLowerCase()
    const host = first !== undefined && HostId.is(first) ? first : undefined
    const peers = host === undefined ? who : who.slice(1)
    if (host !== undefined && options['hostId'] !== undefined) {
      throw new UsageError('the host id is given twice')
    }
    const flags: Partial<Record<ConfigKey, unknown>> = {}
    for (const key of keys) {
      const value = options[key]
      if (value !== undefined) flags[key] = value
    }
    const file = options['config']
    // A node is idle most of the time: what its garbage takes is memory of the guests. Set before there is any.
    setFlagsFromString('--optimize-for-size')
    // Loaded where it is needed: the peer channel takes longer to load than most commands to run.
    const { runNode } = await import('@cloudfs/replicator')
    await runNode(
      loadConfig({
        ...(typeof file === 'string' && { file }),
        environment: process.env,
        flags: { ...flags, ...(host !== undefined && { hostId: host }), ...(peers.length > 0 && { peers }) },
      }),
    )
    // What libp2p may still have open does not keep a node that has closed.
    process.exit(0)
  })
}
