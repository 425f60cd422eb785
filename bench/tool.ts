/** Programs that are measured, and those that measure. */
import { spawn } from 'node:child_process'

/**
 * Runs a program to its end.
 *
 * @returns its standard output
 * @throws Error with what it said, if it cannot be started or fails
 */
export async function runTool(program: string, ...args: readonly string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: exit ${String(code)}\n${stderr}`)
  return stdout
}
