/** What processes cost, as the kernel counts it. */
import { readFileSync, writeFileSync } from 'node:fs'
import { runTool } from './tool.js'

/** Of the kernel's clock in /proc: 100 on every Linux that Node runs on. */
const TICK_US = 10_000

/** User and system time of all threads of these processes, in us. */
export function cpuMicroseconds(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + ticksOf(pid) * TICK_US, 0)
}

function ticksOf(pid: number): number {
  const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8')
  // The name before it may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return Number(fields[11]) + Number(fields[12])
}

/** Memory of a process that is resident, what it shares with others included: bytes. */
export function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${String(pid)}/status`, 'utf8')
  const resident = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]
  if (resident === undefined) throw new Error(`process ${String(pid)}: the kernel does not tell its memory`)
  return Number(resident) * 1024
}

/** Writes back what is dirty and empties the kernel's page cache: all of it, of the whole machine. Needs root. */
export async function dropCaches(): Promise<void> {
  await runTool('sync')
  writeFileSync('/proc/sys/vm/drop_caches', '3')
}
