/**
 * The `cloudfs` command.
 */

/**
 * Runs the command line.
 *
 * @param args - the arguments after the command's name
 * @returns the process's exit code
 */
export function main(args: readonly string[]): number {
  const verb = args[0] ?? '(none)'
  process.stderr.write(
    `cloudfs: verb ${verb}: the command line is not built yet, nor is the node it would start\n`,
  )
  return 1
}
