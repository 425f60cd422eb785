/**
 * Does a primary take for committed only what a majority holds (docs/wire-protocol.md, Commit at the primary; docs/protocol.md,
 * E6)? Told from what travels: how far each follower has said in an epoch that it has come, and which updates a primary calls
 * committed. What was called so once stays, but for a restart.
 */
import type { VolumeId } from '@cloudfs/interface'
import type { Mode } from '../mode.js'

const FIRST_LSN = 1

interface Progress {
  appended: number
  synced: number
}

interface InEpoch {
  readonly followers: Map<number, Progress>
  /** The lsn of its view's record: nothing is committed by counting copies before its followers have that (E6). */
  viewLsn: number
}

interface Known {
  readonly epochs: Map<string, InEpoch>
  committed: number
}

export class CommitRule {
  readonly #hostCount: number
  readonly #known = new Map<VolumeId, Known>()

  /** @param hostCount - members of every volume */
  constructor(hostCount: number) {
    this.#hostCount = hostCount
  }

  /** Somebody was elected, and makes this record the first of the epoch. */
  onElected(volume: VolumeId, epoch: string, viewLsn: number): void {
    this.#inEpoch(volume, epoch).viewLsn = viewLsn
  }

  /** A follower that is not recovering says to the primary of an epoch that it has all updates up to there. */
  onAck(volume: VolumeId, epoch: string, host: number, appended: number, synced: number): void {
    const { followers } = this.#inEpoch(volume, epoch)
    const known = followers.get(host)
    followers.set(host, {
      appended: Math.max(appended, known?.appended ?? 0),
      synced: Math.max(synced, known?.synced ?? 0),
    })
  }

  /** A primary calls updates up to there committed. @returns what is wrong with that */
  onCommit(volume: VolumeId, mode: Mode, lsn: number): string | undefined {
    const known = this.#of(volume)
    // A volume begins with its creation, which counts as committed from the start on; whether it is, the answer to it tells.
    if (mode === 'local' || lsn <= Math.max(FIRST_LSN, known.committed)) return undefined
    const wanted = Math.floor(this.#hostCount / 2)
    const has = [...known.epochs.values()].map(({ followers, viewLsn }) => {
      const progress = [...followers.values()].map((one) => (mode === 'durable' ? one.synced : one.appended))
      return progress.filter((have) => have >= Math.max(lsn, viewLsn)).length
    })
    // A primary that was deposed and leads again knows what it counted before.
    const most = Math.max(0, ...has)
    if (most >= wanted) {
      known.committed = lsn
      return undefined
    }
    return `update ${String(lsn)} of volume ${volume} is called committed, and ${String(most)} followers of ${String(wanted)} needed have it`
  }

  /** A restart goes on from there: what was committed behind it may be gone. */
  lose(volume: VolumeId, lsn: number): void {
    const known = this.#of(volume)
    known.committed = Math.min(known.committed, lsn)
    // What stays may have been counted before, and be called committed only now.
    for (const { followers } of known.epochs.values()) {
      for (const progress of followers.values()) {
        progress.appended = Math.min(progress.appended, lsn)
        progress.synced = Math.min(progress.synced, lsn)
      }
    }
  }

  #inEpoch(volume: VolumeId, epoch: string): InEpoch {
    const { epochs } = this.#of(volume)
    const known = epochs.get(epoch) ?? { followers: new Map<number, Progress>(), viewLsn: FIRST_LSN }
    epochs.set(epoch, known)
    return known
  }

  #of(volume: VolumeId): Known {
    const known = this.#known.get(volume) ?? { epochs: new Map<string, InEpoch>(), committed: 0 }
    this.#known.set(volume, known)
    return known
  }
}
