/** What every command works with. */
import { NodeClient } from '@cloudfs/http'
import { HTTP_PORT_DEFAULT } from '@cloudfs/replicator/config'
import type { Command } from 'commander'

/** Options of the whole command line. */
interface GlobalOptions {
  readonly node?: string
  readonly json?: boolean
}

export interface Context {
  readonly client: NodeClient
  readonly isJson: boolean
}

/** The node to ask is `--node`, `CLOUDFS_NODE`, or this machine's. */
function contextOf(command: Command): Context {
  const { node, json = false } = command.optsWithGlobals<GlobalOptions>()
  const address = node ?? process.env['CLOUDFS_NODE'] ?? `127.0.0.1:${String(HTTP_PORT_DEFAULT)}`
  const url = /^https?:\/\//.test(address) ? address : `http://${address}`
  return { client: new NodeClient({ url }), isJson: json }
}

/** Carries out one command; the last argument that commander gives is the command itself. */
// What commander gives has no types: each command names those of its own arguments.
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters
export function action<Arguments extends unknown[]>(
  act: (context: Context, ...args: Arguments) => Promise<number | undefined>,
): (...args: unknown[]) => Promise<void> {
  return async (...args) => {
    const command = args.at(-1) as Command
    const code = await act(contextOf(command), ...(args.slice(0, -1) as Arguments))
    if (code !== undefined) process.exitCode = code
  }
}
