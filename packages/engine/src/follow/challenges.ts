/** The nonces that wait for an answer: each counts once, and not for long. */
import { randomBytes } from 'node:crypto'
import { NONCE_BYTES } from './ticket.js'

/** A nonce not answered by then counts no more. */
export const CHALLENGE_MS_MAX = 30_000
/** At this many the oldest goes; whoever it was given to asks again. */
export const CHALLENGES_MAX = 1024

export class Challenges {
  readonly #nowMs: () => number
  /** When each was given, in that order. */
  readonly #givenMs = new Map<string, number>()

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs
  }

  /** A fresh nonce, in hex. */
  give(): string {
    const nonce = randomBytes(NONCE_BYTES).toString('hex')
    this.#givenMs.set(nonce, this.#nowMs())
    if (this.#givenMs.size > CHALLENGES_MAX) {
      for (const oldest of this.#givenMs.keys()) {
        this.#givenMs.delete(oldest)
        break
      }
    }
    return nonce
  }

  /** Uses a nonce up. @returns whether it was given here, lately, and never used */
  take(nonce: string): boolean {
    const givenMs = this.#givenMs.get(nonce)
    this.#givenMs.delete(nonce)
    return givenMs !== undefined && this.#nowMs() - givenMs <= CHALLENGE_MS_MAX
  }
}
