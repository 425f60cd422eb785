/** Programs that are measured, and those that measure. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

/** What a program may print before it is killed: fio's longest report is a few hundred KiB. */
const OUTPUT_BYTES_MAX = 64 << 20

const run = promisify(execFile)

/**
 * Runs a program to its end.
 *
 * @returns its standard output
 * @throws Error with what it said, if it cannot be started or fails
 */
export async function runTool(program: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await run(program, args, { maxBuffer: OUTPUT_BYTES_MAX })
  return stdout
}
