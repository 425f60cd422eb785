/** Asks several at once, and waits no longer than it has to. */
import { type CloudfsError, isCloudfsError, JoinedSignal } from '@cloudfs/interface'
import type { ViewClock } from './ports.js'

/**
 * What of `questions` is answered by the time that `isEnough`, all have been answered or refused, or `timeoutMs` has passed.
 * Who refuses with a coded error is left out; what an answer that comes later says is lost.
 */
export async function gather<Answer>(
  questions: readonly Promise<Answer>[],
  options: {
    readonly clock: ViewClock
    readonly timeoutMs: number
    readonly signal: AbortSignal
    readonly isEnough?: (answers: readonly Answer[]) => boolean
    readonly onRefused: (reason: CloudfsError) => void
  },
): Promise<Answer[]> {
  const { clock, timeoutMs, signal, isEnough = () => false, onRefused } = options
  const answers: Answer[] = []
  if (questions.length === 0) return answers
  using timer = new JoinedSignal([signal])
  const enough = new Promise<void>((resolve, reject) => {
    let pending = questions.length
    const settle = (): void => {
      if (--pending === 0 || isEnough(answers)) resolve()
    }
    for (const question of questions) {
      question.then(
        (answer) => {
          answers.push(answer)
          settle()
        },
        (reason: unknown) => {
          if (!isCloudfsError(reason)) {
            reject(reason instanceof Error ? reason : new Error(String(reason)))
            return
          }
          onRefused(reason)
          settle()
        },
      )
    }
  })
  enough.catch(() => undefined)
  try {
    await Promise.race([enough, clock.sleep(timeoutMs, timer.signal)])
  } finally {
    timer.abort()
  }
  return [...answers]
}
