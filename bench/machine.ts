/** The machine that figures are from. */
import { cpus, release, totalmem } from 'node:os'

const GIB = 1024 ** 3

/** One sentence, for whoever compares figures with those of another machine. */
export function describeMachine(): string {
  const [cpu] = cpus()
  const memory = `${String(Math.round(totalmem() / GIB))} GiB`
  return `${String(cpus().length)} × ${cpu?.model ?? 'unknown'}, ${memory} of memory, Linux ${release()}, Node ${process.versions.node}.`
}
