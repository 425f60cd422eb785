/** The command line: all commands, and how it ends. */
import { UsageError } from '@cloudfs/interface'
import { Command, CommanderError } from 'commander'
import { attachCommand, detachCommand } from './commands/attach.js'
import { completionCommand } from './commands/completion.js'
import { devCommand } from './commands/dev.js'
import { formatCommand } from './commands/format.js'
import { replicatorCommand } from './commands/replicator.js'
import { applyCommand } from './commands/apply.js'
import { evacuateCommand } from './commands/evacuate.js'
import { headsCommand } from './commands/heads.js'
import { streamCommand } from './commands/stream.js'
import { nodesCommand, statusCommand } from './commands/status.js'
import { topCommand } from './commands/top.js'
import { exportCommand, importCommand } from './commands/transfer.js'
import { scrubCommand } from './commands/scrub.js'
import { verifyCommand } from './commands/verify.js'
import { forceCommand } from './commands/force.js'
import { addReplicaCommand, removeReplicaCommand, replaceCommand } from './commands/members.js'
import {
  branchCommand,
  deletediskCommand,
  infoCommand,
  lsCommand,
  migrateCommand,
  newdiskCommand,
  snapshotCommand,
} from './commands/volumes.js'
import { EXIT, report } from './output.js'

export function buildProgram(): Command {
  const program = new Command('cloudfs')
    .description('replicated disks for virtual machines')
    .option('--node <host:port>', 'the node to ask (CLOUDFS_NODE; this machine: 127.0.0.1:8091)')
    .option('--json', 'results as JSON')
    .exitOverride()
    .showHelpAfterError(false)
    .showSuggestionAfterError(true)
    .configureOutput({ outputError: () => undefined })
  const commands = [
    replicatorCommand(),
    newdiskCommand(),
    lsCommand(),
    infoCommand(),
    statusCommand(),
    headsCommand(),
    topCommand(),
    nodesCommand(),
    attachCommand(),
    detachCommand(),
    migrateCommand(),
    replaceCommand(),
    addReplicaCommand(),
    removeReplicaCommand(),
    evacuateCommand(),
    forceCommand(),
    snapshotCommand(),
    branchCommand(),
    deletediskCommand(),
    importCommand(),
    exportCommand(),
    streamCommand(),
    formatCommand(),
    applyCommand(),
    verifyCommand(),
    scrubCommand(),
    devCommand(),
    completionCommand(() => program),
  ]
  for (const command of commands) program.addCommand(inherit(command, program))
  return program
}

/** Settings of the program count for its commands, which were made apart from it. */
function inherit(command: Command, parent: Command): Command {
  command.copyInheritedSettings(parent)
  for (const each of command.commands) inherit(each, command)
  return command
}

/**
 * Runs the command line.
 *
 * @param args - the arguments after the command's name
 * @returns the process's exit code
 */
export async function main(args: readonly string[]): Promise<number> {
  try {
    const program = buildProgram()
    if (args.length === 0) {
      program.outputHelp()
      return EXIT.usage
    }
    await program.parseAsync(args, { from: 'user' })
    return typeof process.exitCode === 'number' ? process.exitCode : EXIT.ok
  } catch (error) {
    return report(asUsage(error), args.includes('--json'))
  }
}

function asUsage(error: unknown): unknown {
  if (!(error instanceof CommanderError)) return error
  if (error.exitCode === 0) process.exit(EXIT.ok)
  return new UsageError(error.message.replace(/^error: /, ''), { cause: error })
}
