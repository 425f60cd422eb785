/** Programs that nobody here wrote, run to their end. */
import { type ChildProcess, spawn } from 'node:child_process'

const running = new Set<ChildProcess>()

/** Kills the programs of a test that ended before they did. */
export function endTools(): void {
  for (const child of running) child.kill('SIGKILL')
}

export interface ToolResult {
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs a program and resolves with what it printed.
 *
 * @throws an Error with its output if it could not be started or did not exit with 0
 */
export async function runTool(program: string, ...args: readonly string[]): Promise<ToolResult> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  child.once('close', () => running.delete(child))
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const code = await new Promise<number | string>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (exit, signal) => {
      resolve(exit ?? String(signal))
    })
  })
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: ended with ${code}\n${stdout}\n${stderr}`)
  return { stdout, stderr }
}
