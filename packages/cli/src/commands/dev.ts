/** `cloudfs dev`: a local cluster of real processes. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '@cloudfs/interface'
import { Command } from 'commander'
import { DevCluster, type Half, type NodeState, STORE_SIZE_DEFAULT } from '../dev/cluster.js'
import { runDemo } from '../dev/demo.js'
import { examples } from '../examples.js'
import { say, sayJson, table, talk } from '../output.js'

const DIRECTORY_DEFAULT = '.cloudfs-dev'

interface DevOptions {
  readonly dir: string
  readonly json?: boolean
}

export function devCommand(): Command {
  const dev = new Command('dev').description('a local cluster of real processes')
  const add = (name: string, description: string, example: string, remark = ''): Command =>
    examples(
      dev.command(name).description(description).option('--dir <dir>', 'where it lies', DIRECTORY_DEFAULT),
      [[`cloudfs dev ${example} --dir cluster`, remark]],
    )
  const withCluster =
    (act: (cluster: DevCluster, command: Command) => Promise<void>) =>
    async (...args: unknown[]): Promise<void> => {
      const command = args.at(-1) as Command
      await act(new DevCluster(command.opts<DevOptions>().dir), command)
    }
  add('up', 'start N nodes; those of an earlier time keep their disks', 'up --nodes 2')
    .option('--nodes <n>', 'how many', '3')
    .option('--store-size <size>', 'of each new node', STORE_SIZE_DEFAULT)
    .action(
      withCluster(async (cluster, command) => {
        const { nodes, storeSize } = command.opts<{ nodes: string; storeSize: string }>()
        tell(await cluster.up(Number(nodes), storeSize), command)
      }),
    )
  add('ls', 'list the nodes and their processes', 'ls').action(
    withCluster((cluster, command) => {
      tell(cluster.list(), command)
      return Promise.resolve()
    }),
  )
  add('start', 'start a node', 'start 2')
    .argument('<n>')
    .action(withCluster(async (cluster, command) => tell([await cluster.start(indexOf(command))], command)))
  add('stop', 'end both halves of a node cleanly', 'stop 2')
    .argument('<n>')
    .action(withCluster((cluster, command) => cluster.stop(indexOf(command))))
  add(
    'kill',
    'kill -9 a node, or one half of it',
    'kill 1 --replicator',
    'as a crash; its engine goes on serving',
  )
    .argument('<n>')
    .option('--engine', 'its engine alone; the replicator starts another')
    .option('--replicator', 'its replicator alone; the engine goes on serving')
    .action(
      withCluster((cluster, command) => {
        const options = command.opts<Partial<Record<Half, boolean>>>()
        if (options.engine === true && options.replicator === true)
          throw new UsageError('one half, or both by neither')
        const half =
          options.engine === true ? 'engine' : options.replicator === true ? 'replicator' : undefined
        return cluster.kill(indexOf(command), half)
      }),
    )
  add('down', 'stop all nodes; their disks stay', 'down --delete')
    .option('--delete', 'delete their disks too')
    .action(
      withCluster(async (cluster, command) => {
        const nodes = cluster.list()
        await cluster.down()
        if (command.opts<{ delete?: boolean }>().delete !== true) return
        for (const { directory } of nodes) rmSync(directory, { recursive: true, force: true })
        rmSync(join(cluster.directory, 'cluster.json'), { force: true })
      }),
    )
  add('run', 'start nodes and a disk, show how they are until Ctrl-C; the disk stays', 'run --nodes 1')
    .option('--nodes <n>', 'how many', '3')
    .action(
      withCluster((cluster, command) => runDemo(cluster, Number(command.opts<{ nodes: string }>().nodes))),
    )
  return dev
}

function indexOf(command: Command): number {
  const text = command.args[0] ?? ''
  if (/^\d{1,3}$/.test(text)) return Number(text)
  throw new UsageError(`not the number of a node: ${text}`)
}

function tell(nodes: readonly NodeState[], command: Command): void {
  if (command.optsWithGlobals<DevOptions>().json === true) {
    sayJson(nodes)
    return
  }
  const rows = nodes.map(({ index, url, replicatorPid, enginePid, directory }) => [
    String(index),
    url,
    String(replicatorPid ?? '-'),
    String(enginePid ?? '-'),
    directory,
  ])
  say(table([['N', 'HTTP', 'REPLICATOR', 'ENGINE', 'DIRECTORY'], ...rows]))
  if (nodes.length > 1) talk(`cloudfs --node ${nodes[0]?.url.replace('http://', '') ?? ''} ls`)
}
