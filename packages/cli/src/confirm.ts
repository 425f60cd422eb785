/** Asks before what cannot be undone. */
import { createInterface } from 'node:readline/promises'
import { UsageError } from '@cloudfs/interface'

/**
 * Resolves when the person at the terminal says yes.
 *
 * @throws {UsageError} the answer is another, or nobody is there to ask: `--yes` says it beforehand
 */
export async function confirm(question: string): Promise<void> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) throw new UsageError(`${question} --yes says so`)
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    if (/^y(es)?$/i.test((await terminal.question(`${question} [y/N] `)).trim())) return
  } finally {
    terminal.close()
  }
  throw new UsageError('nothing was done')
}
