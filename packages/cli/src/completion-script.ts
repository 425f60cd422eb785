/** Completion scripts: commands and options from the program itself, volumes from the node it would ask. */
import type { Command } from 'commander'

export const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

/** What stands for an argument or an option's value. */
type Kind = 'volume' | 'host' | 'file' | 'word'

interface Entry {
  /** As typed: `dev up`. */
  readonly path: string
  readonly description: string
  readonly subcommands: readonly string[]
  readonly options: readonly { readonly flag: string; readonly takesValue: boolean; readonly text: string }[]
  readonly argument: Kind
}

/** Names and ids of volumes; nothing where no node answers. */
const VOLUMES = 'cloudfs ls 2>/dev/null | awk \'NR > 1 { print $1; if ($2 != "-") print $2 }\''

/** Ids of hosts. */
const HOSTS = "cloudfs nodes 2>/dev/null | awk 'NR > 1 { print $1 }'"

export function completionScript(shell: Shell, program: Command): string {
  const entries = entriesOf(program, '')
  switch (shell) {
    case 'bash':
      return bashScript(entries)
    case 'zsh':
      // zsh reads bash's completions, by functions of its own.
      return ['#compdef cloudfs', 'autoload -U +X bashcompinit && bashcompinit', bashScript(entries)].join(
        '\n',
      )
    case 'fish':
      return fishScript(entries)
  }
}

function entriesOf(command: Command, path: string): Entry[] {
  const subcommands = command.commands.flatMap((each) => [each.name(), ...each.aliases()])
  const options = [...command.options, ...(path === '' ? [] : globalsOf(command))].map((option) => ({
    flag: option.long ?? '',
    takesValue: option.required,
    text: option.description,
  }))
  const entry: Entry = {
    path,
    description: command.description(),
    subcommands,
    options: [...options, { flag: '--help', takesValue: false, text: 'show help' }],
    argument: kindOf(command.registeredArguments.map((each) => each.name())),
  }
  const below = command.commands.flatMap((each) =>
    [each.name(), ...each.aliases()].flatMap((name) => entriesOf(each, `${path} ${name}`.trim())),
  )
  return [entry, ...below]
}

/** Options of the program count for its commands too. */
function globalsOf(command: Command): Command['options'] {
  let root = command
  while (root.parent !== null) root = root.parent
  return root.options
}

function kindOf(names: readonly string[]): Kind {
  if (names.includes('volume') || names.includes('from')) return 'volume'
  if (names[0] === 'host') return 'host'
  return names.includes('file') || names.includes('path') ? 'file' : 'word'
}

function bashScript(entries: readonly Entry[]): string {
  const cases = entries.map(({ path, subcommands, options, argument }) => {
    const flags = options.map(({ flag }) => flag).join(' ')
    const valued = options.filter(({ takesValue }) => takesValue).map(({ flag }) => flag)
    return `    ${quote(path)}) commands=${quote(subcommands.join(' '))} flags=${quote(flags)} valued=${quote(valued.join(' '))} kind=${argument} ;;`
  })
  return `_cloudfs() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} path= word index
  local commands flags valued kind
  _cloudfs_describe "$path"
  for (( index = 1; index < COMP_CWORD; index++ )); do
    word=\${COMP_WORDS[index]}
    if [[ " $commands " == *" $word "* ]]; then
      path="\${path:+$path }$word"
      _cloudfs_describe "$path"
    fi
  done
  if [[ " $valued " == *" $previous "* ]]; then
    COMPREPLY=( $(compgen -f -- "$current") )
  elif [[ $current == -* ]]; then
    COMPREPLY=( $(compgen -W "$flags" -- "$current") )
  elif [[ -n $commands ]]; then
    COMPREPLY=( $(compgen -W "$commands" -- "$current") )
  elif [[ $kind == volume ]]; then
    COMPREPLY=( $(compgen -W "$(${VOLUMES})" -- "$current") $(compgen -f -- "$current") )
  elif [[ $kind == host ]]; then
    COMPREPLY=( $(compgen -W "$(${HOSTS})" -- "$current") )
  elif [[ $kind == file ]]; then
    COMPREPLY=( $(compgen -f -- "$current") )
  fi
}
_cloudfs_describe() {
  case $1 in
${cases.join('\n')}
  esac
}
complete -o filenames -F _cloudfs cloudfs`
}

function fishScript(entries: readonly Entry[]): string {
  const lines = ['complete -c cloudfs -f']
  const descriptions = new Map(entries.map(({ path, description }) => [path, description]))
  for (const { path, subcommands, options, argument } of entries) {
    const words = path === '' ? [] : path.split(' ')
    const seen = words.map((word) => `__fish_seen_subcommand_from ${word}`)
    const unseen =
      subcommands.length === 0 ? [] : [`not __fish_seen_subcommand_from ${subcommands.join(' ')}`]
    const isHere = quote([...seen, ...unseen].join('; and '))
    for (const name of subcommands) {
      const text = descriptions.get(`${path} ${name}`.trim()) ?? ''
      lines.push(`complete -c cloudfs -n ${isHere} -a ${name} -d ${quote(text)}`)
    }
    const condition = seen.length === 0 ? '' : ` -n ${quote(seen.join('; and '))}`
    for (const { flag, takesValue, text } of options) {
      if (flag === '') continue
      lines.push(
        `complete -c cloudfs${condition} -l ${flag.slice(2)}${takesValue ? ' -r' : ''} -d ${quote(text)}`,
      )
    }
    if (argument === 'volume') lines.push(`complete -c cloudfs${condition} -F -a ${quote(`(${VOLUMES})`)}`)
    if (argument === 'host') lines.push(`complete -c cloudfs${condition} -a ${quote(`(${HOSTS})`)}`)
    if (argument === 'file') lines.push(`complete -c cloudfs${condition} -F`)
  }
  return lines.join('\n')
}

/** For a shell; fish reads it alike, but for quotes and backslashes, which it escapes. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'"'"'`)}'`
}
