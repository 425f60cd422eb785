/** Examples of `--help`. Each is a command line that runs: test/e2e/examples.test.ts runs them all. */
import type { Command } from 'commander'

/** A command line, and what it is good for. */
export type Example = readonly [line: string, remark: string]

const ofCommand = new WeakMap<Command, readonly Example[]>()

/** Adds examples to a command's help. */
export function examples(command: Command, list: readonly Example[]): Command {
  ofCommand.set(command, list)
  const width = Math.max(...list.map(([line]) => line.length))
  const lines = list.map(
    ([line, remark]) => `  ${remark === '' ? line : `${line.padEnd(width)}  # ${remark}`}`,
  )
  return command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`)
}

/** All examples below a command, in the order of its help. */
export function examplesOf(command: Command): Example[] {
  return [...(ofCommand.get(command) ?? []), ...command.commands.flatMap(examplesOf)]
}
