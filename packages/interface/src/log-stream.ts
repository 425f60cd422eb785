/**
 * Lines of a log on their way to where a disk may be full. What cannot be written waits and in the end is lost; who logs goes
 * on, and so does the log once there is room.
 */

/** How much waits, in bytes: what comes then is lost. For the stream's `maxLength`. */
export const LOG_BYTES_MAX = 1 << 20

/** The part of a pino destination that matters here. */
export interface LogStream {
  on(event: 'error' | 'write', listener: () => void): unknown
  write(text: string): unknown
  flushSync(): void
}

/**
 * Keeps a log that fails from ending its process: at once, by an error event that nobody takes, or at the end, by trying for ever.
 *
 * @param later - runs something after about a second
 */
export function outliveFailures<Stream extends LogStream>(
  stream: Stream,
  later: (act: () => void) => void,
): Stream {
  const flush = stream.flushSync.bind(stream)
  let isFailing = false
  let isWaiting = false
  stream.on('error', () => {
    isFailing = true
    if (isWaiting) return
    isWaiting = true
    later(() => {
      isWaiting = false
      // Has what waits be tried again.
      stream.write('')
    })
  })
  stream.on('write', () => {
    isFailing = false
  })
  stream.flushSync = () => {
    if (!isFailing) flush()
  }
  return stream
}
