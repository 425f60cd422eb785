/** Takes a saved history apart: runs and their bodies, one behind the other. */
import { decodeRun, lastLsn, peekRun, RUN_HEADER_BYTES, type RecordsRun } from '@cloudfs/format'
import { type Lsn, RecordCorruptError } from '@cloudfs/interface'

export interface SavedRun {
  readonly run: RecordsRun
  readonly lastLsn: Lsn
  /** Run and body, as they came. */
  readonly bytes: Buffer
}

/** @throws {RecordCorruptError} what comes is no history, or breaks off */
export async function* readRuns(input: AsyncIterable<Buffer>): AsyncGenerator<SavedRun> {
  let chunks: Buffer[] = []
  let available = 0
  const iterator = input[Symbol.asyncIterator]()
  /** The next bytes, without taking them; fewer at the end. */
  const peek = async (count: number): Promise<Buffer> => {
    while (available < count) {
      const next = await iterator.next()
      if (next.done === true) break
      chunks.push(next.value)
      available += next.value.length
    }
    const all = chunks.length === 1 ? chunks[0] : undefined
    const bytes = all ?? Buffer.concat(chunks)
    chunks = [bytes]
    return bytes.subarray(0, count)
  }
  for (;;) {
    const header = await peek(RUN_HEADER_BYTES)
    if (header.length === 0) return
    const { runBytes, bodyBytes } = peekRun(header)
    const bytes = await peek(runBytes + bodyBytes)
    if (bytes.length < runBytes + bodyBytes)
      throw new RecordCorruptError('the history breaks off within a run')
    const run = decodeRun(bytes.subarray(0, runBytes))
    if (run.type !== 'records') throw new RecordCorruptError('a run that does not travel between stores')
    yield { run, lastLsn: lastLsn(run), bytes }
    chunks = [(chunks[0] ?? Buffer.alloc(0)).subarray(bytes.length)]
    available -= bytes.length
  }
}
