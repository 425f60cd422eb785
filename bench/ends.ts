/** What is ended even when this process is told to end in the midst of a run: servers, nodes, directories. */
import { constants } from 'node:os'

type End = () => void

const ends = new Set<End>()

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => process.exit(128 + constants.signals[signal]))

process.once('exit', () => {
  // What was started last ends first.
  for (const end of [...ends].reverse()) {
    try {
      end()
    } catch {
      // The others are to be ended too.
    }
  }
})

/** @param end - done at once, without waiting @returns to be called when there is nothing to end any more */
export function atEnd(end: End): () => void {
  ends.add(end)
  return () => ends.delete(end)
}
