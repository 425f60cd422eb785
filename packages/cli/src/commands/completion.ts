/** `cloudfs completion SHELL`: a script for the shell, made from the commands themselves. */
import { UsageError } from '@cloudfs/interface'
import { Command } from 'commander'
import { completionScript, shells } from '../completion-script.js'
import { examples } from '../examples.js'
import { say } from '../output.js'

/** @param program - gives the whole command line, once it is complete */
export function completionCommand(program: () => Command): Command {
  return examples(
    new Command('completion')
      .description('print a completion script for a shell')
      .argument('<shell>', shells.join(', '))
      .action((name: string) => {
        const shell = shells.find((each) => each === name)
        if (shell === undefined) throw new UsageError(`shells are ${shells.join(', ')}`)
        say(completionScript(shell, program()))
      }),
    [
      ['source <(cloudfs completion bash)', 'in ~/.bashrc'],
      ['cloudfs completion zsh > _cloudfs', 'in a directory of $fpath'],
      ['cloudfs completion fish > cloudfs.fish', 'in ~/.config/fish/completions'],
    ],
  )
}
