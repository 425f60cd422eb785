/** What every transfer is given: how to say how far it is, and when to stop. */
import { formatBytes } from '@cloudfs/interface'
import { ProgressLine } from '../progress-line.js'

export interface Transfer {
  readonly windowBytes: number
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
  readonly progress: (doneBytes: number, totalBytes: number) => void
}

const SECOND_MS = 1000
const PERCENT = 100

/** Runs a transfer with a progress line and an orderly end on SIGINT and SIGTERM. */
export async function runTransfer<T>(
  verb: string,
  windowBytes: number,
  act: (transfer: Transfer) => Promise<T>,
): Promise<T> {
  const line = new ProgressLine()
  const ended = new AbortController()
  const end = (): void => {
    ended.abort()
  }
  let first: { ms: number; bytes: number } | undefined
  process.once('SIGINT', end).once('SIGTERM', end)
  try {
    return await act({
      windowBytes,
      signal: ended.signal,
      progress: (doneBytes, totalBytes) => {
        first ??= { ms: performance.now(), bytes: doneBytes }
        const seconds = (performance.now() - first.ms) / SECOND_MS
        const rate = seconds > 1 ? `, ${formatBytes((doneBytes - first.bytes) / seconds)}/s` : ''
        const percent = totalBytes === 0 ? PERCENT : (doneBytes / totalBytes) * PERCENT
        line.show(`${verb} ${percent.toFixed(1)} % of ${formatBytes(totalBytes)}${rate}`)
      },
    })
  } finally {
    line.clear()
    process.off('SIGINT', end).off('SIGTERM', end)
  }
}
