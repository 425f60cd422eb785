/** Waits for clients that read slowly, and no longer for those that do not read at all. */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'

/** A client that takes nothing for this long is let go. */
const STALL_MS_MAX = 300_000

/** Resolves when the client has taken what was written, or is gone: then `closed` is aborted, or the response destroyed. */
export async function drained(response: ServerResponse, closed: AbortSignal): Promise<void> {
  const stalled = AbortSignal.timeout(STALL_MS_MAX)
  try {
    await once(response, 'drain', { signal: AbortSignal.any([closed, stalled]) })
  } catch (error) {
    if (!closed.aborted && !stalled.aborted) throw error
    response.destroy()
  }
}
