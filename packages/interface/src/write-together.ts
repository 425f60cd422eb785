/** What a socket has to write through. */
interface Corkable {
  readonly writableCorked: number
  cork(): void
  uncork(): void
  write(text: string): unknown
}

/**
 * Writes to a socket what leaves with all else that is written to it while the event loop looks after what has come: one system
 * call, and one wake-up of the other end.
 *
 * @param later - `setImmediate`: the next tick comes behind each message that was received, this behind all of them
 */
export function writeTogether(socket: Corkable, text: string, later: (send: () => void) => void): void {
  if (socket.writableCorked === 0) {
    socket.cork()
    later(() => {
      socket.uncork()
    })
  }
  socket.write(text)
}
