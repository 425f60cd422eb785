/** Processes that outlive whoever started them, found again by files with their ids. */
import { readFileSync } from 'node:fs'

/** The process that the file names, if it still runs and has to do with `directory`: ids are used again. */
export function readPid(path: string, directory: string): number | undefined {
  let pid: number
  try {
    pid = Number(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
  return Number.isInteger(pid) && pid > 0 && isRunning(pid, directory) ? pid : undefined
}

/** Whether the process runs, and its command line names `directory`. */
export function isRunning(pid: number, directory: string): boolean {
  try {
    return readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8').includes(directory)
  } catch {
    return false
  }
}

/** Signals a process; one that has ended meanwhile is as good as signalled. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
