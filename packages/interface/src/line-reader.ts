/** Cuts a byte stream into lines of bounded length. */

const NEWLINE = 0x0a

/** A line grew longer than the limit; the rest of the stream cannot be read. */
export class LineTooLongError extends Error {}

export class LineReader {
  readonly #bytesMax: number
  /** The beginning of a line, in pieces: joined once, when its end comes. */
  #pieces: Buffer[] = []
  #pieceBytes = 0

  /** `bytesMax` counts the newline. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /**
   * Takes the stream's next bytes.
   *
   * @returns the lines that they end, without newlines; empty ones are left out
   * @throws {LineTooLongError} before it holds more than the limit
   */
  push(chunk: Buffer): string[] {
    const lines: string[] = []
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      this.#hold(chunk.subarray(start, end), 1)
      if (this.#pieceBytes > 0) lines.push(Buffer.concat(this.#pieces).toString('utf8'))
      this.#pieces = []
      this.#pieceBytes = 0
      start = end + 1
    }
    this.#hold(chunk.subarray(start), 0)
    return lines
  }

  #hold(piece: Buffer, newlineBytes: number): void {
    if (this.#pieceBytes + piece.length + newlineBytes > this.#bytesMax) {
      throw new LineTooLongError(`a line has at most ${this.#bytesMax} bytes`)
    }
    if (piece.length === 0) return
    this.#pieces.push(piece)
    this.#pieceBytes += piece.length
  }
}
