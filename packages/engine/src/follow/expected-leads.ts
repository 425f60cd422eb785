/**
 * Volumes that this host is about to lead, as its replicator says: who is to follow, or to be served, connects beforehand, by the
 * key of the view to come, and is let in when that has come. So nobody has to connect while clients wait.
 *
 * Nothing is decided by it. A connection waits here as long as this host is no leader, and goes to the store then as any other.
 */
import { type CoreEvent, NotPrimaryError, type Stamp, type VolumeId } from '@cloudfs/interface'

/** What has not come by then does not; connections that wait for it are refused. */
export const EXPECTED_MS_MAX = 5_000
/** At this many the oldest is forgotten: who waits for it connects when it is told who leads. */
export const EXPECTED_MAX = 1_024

/** `elected`: it brings its followers up; `leading`: it serves. */
type Stage = 'elected' | 'leading'

interface Expected {
  readonly stamp: Stamp
  readonly timer: NodeJS.Timeout
  readonly reached: Set<Stage>
  readonly waiting: Set<{ readonly stage: Stage; readonly settle: (hasCome: boolean) => void }>
}

export class ExpectedLeads {
  readonly #expected = new Map<VolumeId, Expected>()

  /** What was expected of the volume before is no more. */
  expect(volume: VolumeId, stamp: Stamp): void {
    this.#forget(volume)
    if (this.#expected.size >= EXPECTED_MAX)
      for (const oldest of this.#expected.keys()) {
        this.#forget(oldest)
        break
      }
    const timer = setTimeout(() => {
      this.#forget(volume)
    }, EXPECTED_MS_MAX)
    this.#expected.set(volume, { stamp, timer: timer.unref(), reached: new Set(), waiting: new Set() })
  }

  /** Of the view to come. Undefined: none is expected, or its stage has come. */
  stampBefore(stage: Stage, volume: VolumeId): Stamp | undefined {
    const expected = this.#expected.get(volume)
    return expected?.reached.has(stage) === false ? expected.stamp : undefined
  }

  /** @throws {NotPrimaryError} it does not come; the signal's reason */
  async until(stage: Stage, volume: VolumeId, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const expected = this.#expected.get(volume)
    const hasCome =
      expected !== undefined &&
      (expected.reached.has(stage) ||
        (await new Promise<boolean>((resolve) => {
          const giveUp = (): void => {
            one.settle(false)
          }
          const one = {
            stage,
            settle: (is: boolean): void => {
              expected.waiting.delete(one)
              signal.removeEventListener('abort', giveUp)
              resolve(is)
            },
          }
          expected.waiting.add(one)
          signal.addEventListener('abort', giveUp)
        })))
    signal.throwIfAborted()
    if (!hasCome) throw new NotPrimaryError(`this host has not come to lead volume ${volume}`)
  }

  /** The store was elected, and makes its view with that stamp. */
  elected(volume: VolumeId, stamp: Stamp): void {
    if (this.#expected.get(volume)?.stamp === stamp) this.#reach('elected', volume)
    else this.#forget(volume)
  }

  onEvent({ name, detail }: CoreEvent): void {
    if (name === 'leading') {
      this.#reach('leading', detail.volume)
      this.#forget(detail.volume)
    } else if (name === 'stepped-down') {
      this.#forget(detail.volume)
    }
  }

  close(): void {
    for (const volume of [...this.#expected.keys()]) this.#forget(volume)
  }

  #reach(stage: Stage, volume: VolumeId): void {
    const expected = this.#expected.get(volume)
    if (expected === undefined) return
    expected.reached.add(stage)
    for (const one of [...expected.waiting]) if (one.stage === stage) one.settle(true)
  }

  #forget(volume: VolumeId): void {
    const expected = this.#expected.get(volume)
    if (expected === undefined) return
    this.#expected.delete(volume)
    clearTimeout(expected.timer)
    for (const one of [...expected.waiting]) one.settle(false)
  }
}
