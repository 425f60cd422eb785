/** Progress of long work: one line on stderr that is redrawn in place; nothing where stderr is no terminal. */

/** Redrawn at most this often. */
const PROGRESS_INTERVAL_MS = 100

export class ProgressLine {
  #shownAtMs = Number.NEGATIVE_INFINITY
  #isShown = false

  show(text: string): void {
    if (!process.stderr.isTTY) return
    const nowMs = performance.now()
    if (nowMs - this.#shownAtMs < PROGRESS_INTERVAL_MS) return
    this.#shownAtMs = nowMs
    this.#isShown = true
    process.stderr.write(`\r\u001b[K${text}`)
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#isShown) process.stderr.write('\r\u001b[K')
    this.#isShown = false
  }
}
