/**
 * Volumes that this host is about to lead, as its replicator says: who is to follow, or to be served, connects beforehand, by the
 * key of the view to come. The store keeps the connection, and takes it when it leads in that epoch: nobody has to connect while
 * clients wait, and nothing of it waits for JavaScript then.
 */
import type { CoreEvent, Epoch, Stamp, VolumeId } from '@cloudfs/interface'

/** What has not come by then does not. */
export const EXPECTED_MS_MAX = 5_000
/** At this many the oldest is forgotten: who would connect to it does so when it is told who leads. */
export const EXPECTED_MAX = 1_024

/** A view to come. */
export interface ExpectedLead {
  readonly epoch: Epoch
  readonly stamp: Stamp
}

export class ExpectedLeads {
  readonly #expected = new Map<VolumeId, ExpectedLead & { readonly timer: NodeJS.Timeout }>()

  /** What was expected of the volume before is no more. */
  expect(volume: VolumeId, lead: ExpectedLead): void {
    this.#forget(volume)
    if (this.#expected.size >= EXPECTED_MAX)
      for (const oldest of this.#expected.keys()) {
        this.#forget(oldest)
        break
      }
    const timer = setTimeout(() => {
      this.#forget(volume)
    }, EXPECTED_MS_MAX)
    this.#expected.set(volume, { ...lead, timer: timer.unref() })
  }

  /** Undefined: none is expected, or it has come. */
  of(volume: VolumeId): ExpectedLead | undefined {
    return this.#expected.get(volume)
  }

  /** The store was elected, and makes its view with that stamp. */
  elected(volume: VolumeId, stamp: Stamp): void {
    if (this.#expected.get(volume)?.stamp !== stamp) this.#forget(volume)
  }

  onEvent({ name, detail }: CoreEvent): void {
    if (name === 'leading' || name === 'stepped-down') this.#forget(detail.volume)
  }

  close(): void {
    for (const volume of [...this.#expected.keys()]) this.#forget(volume)
  }

  #forget(volume: VolumeId): void {
    clearTimeout(this.#expected.get(volume)?.timer)
    this.#expected.delete(volume)
  }
}
