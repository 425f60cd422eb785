/**
 * Does a primary take for committed only what a majority holds (docs/wire-protocol.md, Commit at the primary)? Told from what
 * travels: how far each follower has ever said that it has come, and which updates the primary calls committed.
 */
import type { VolumeId } from '@cloudfs/interface'
import type { Mode } from '../mode.js'

const FIRST_LSN = 1

interface Progress {
  appended: number
  synced: number
}

export class CommitRule {
  readonly #hostCount: number
  readonly #followers = new Map<VolumeId, Map<number, Progress>>()

  /** @param hostCount - members of every volume */
  constructor(hostCount: number) {
    this.#hostCount = hostCount
  }

  /** A follower says that it has all updates up to there. */
  onAck(volume: VolumeId, host: number, appended: number, synced: number): void {
    const known = this.#of(volume).get(host)
    this.#of(volume).set(host, {
      appended: Math.max(appended, known?.appended ?? 0),
      synced: Math.max(synced, known?.synced ?? 0),
    })
  }

  /** A primary calls updates up to there committed. @returns what is wrong with that */
  onCommit(volume: VolumeId, mode: Mode, lsn: number): string | undefined {
    // A volume begins with its creation, which counts as committed from the start on; whether it is, the answer to it tells.
    if (mode === 'local' || lsn <= FIRST_LSN) return undefined
    const wanted = Math.floor(this.#hostCount / 2)
    const progress = [...this.#of(volume).values()]
    const has = progress.filter((one) => (mode === 'durable' ? one.synced : one.appended) >= lsn).length
    if (has >= wanted) return undefined
    return `update ${String(lsn)} of volume ${volume} is called committed, and ${String(has)} followers of ${String(wanted)} needed have it`
  }

  #of(volume: VolumeId): Map<number, Progress> {
    let followers = this.#followers.get(volume)
    if (followers === undefined) {
      followers = new Map()
      this.#followers.set(volume, followers)
    }
    return followers
  }
}
