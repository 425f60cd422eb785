/**
 * Does a primary take for committed only what a majority holds (docs/wire-protocol.md, Commit at the primary; docs/protocol.md,
 * E6), of every set that has a say (M1)? Told from what travels: how far each follower has said in an epoch that it has come,
 * and which updates a primary calls committed. What was called so once stays, but for a restart.
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
  leader: number
  voters: readonly number[]
  /** Of the view that this one follows. Undefined: it is the first. */
  before: string | undefined
  isCommitted: boolean
}

interface Known {
  readonly epochs: Map<string, InEpoch>
  committed: number
}

/** Of the members of a set that have to have an update, besides the primary. */
interface Count {
  readonly has: number
  readonly wanted: number
}

/** A host has won an epoch. */
interface Won {
  readonly leader: number
  readonly viewLsn: number
  /** Epoch of the head that it goes on from. */
  readonly before: string
}

export class CommitRule {
  readonly #first: readonly number[]
  readonly #witness: number | undefined
  readonly #known = new Map<VolumeId, Known>()

  /**
   * @param first - members of every volume at first, by number; the first of them leads it
   * @param witness - that of them which keeps no data
   */
  constructor(first: readonly number[], witness?: number) {
    this.#first = first
    this.#witness = witness
  }

  onElected(volume: VolumeId, epoch: string, won: Won): void {
    this.#inEpoch(volume, won.before)
    Object.assign(this.#inEpoch(volume, epoch), won, { isCommitted: false })
  }

  /** And is about to make a view with these voters. */
  onView(volume: VolumeId, epoch: string, voters: readonly number[]): void {
    this.#inEpoch(volume, epoch).voters = voters
  }

  /** By an operator's word: of the sets before none has a say. */
  onForced(volume: VolumeId, epoch: string): void {
    this.#inEpoch(volume, epoch).before = undefined
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
    let most: Count = { has: 0, wanted: Infinity }
    // A primary that was deposed and leads again knows what it counted before.
    const epochs = known.epochs.size === 0 ? [this.#newEpoch()] : [...known.epochs.values()].reverse()
    for (const epoch of epochs) {
      const counts = this.#countsOf(known, epoch, mode, lsn)
      const short = counts.find(({ has, wanted }) => has < wanted)
      if (short === undefined) {
        known.committed = lsn
        for (const each of [epoch, ...this.#before(known, epoch)]) each.isCommitted = true
        return undefined
      }
      if (most.wanted === Infinity || short.has > most.has) most = short
    }
    return `update ${String(lsn)} of volume ${volume} is called committed, and ${String(most.has)} followers of ${String(most.wanted)} needed have it`
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

  /** In its own set, and as long as its view is not committed in those before it, of that view. */
  #countsOf(known: Known, epoch: InEpoch, mode: Mode, lsn: number): Count[] {
    const { followers, viewLsn, leader } = epoch
    const holds = (host: number, wanted: number): boolean => {
      const { appended, synced } = followers.get(host) ?? { appended: 0, synced: 0 }
      return host === leader || (mode === 'durable' ? synced : appended) >= wanted
    }
    /** W1 */
    const witnessCounts = (wanted: number): boolean =>
      epoch.voters.every((host) => host === this.#witness || holds(host, wanted)) ||
      this.#isBodiless(known, wanted)
    const count = (voters: readonly number[], wanted: number): Count => ({
      has: voters.filter(
        (host) => host !== leader && holds(host, wanted) && (host !== this.#witness || witnessCounts(wanted)),
      ).length,
      wanted: Math.floor(voters.length / 2) + (voters.includes(leader) ? 0 : 1),
    })
    const before = epoch.isCommitted ? [] : this.#before(known, epoch)
    return [
      count(epoch.voters, Math.max(lsn, viewLsn)),
      ...before.map(({ voters }) => count(voters, viewLsn)),
    ]
  }

  /** Nothing but records of views follows what is known to be committed. */
  #isBodiless({ committed, epochs }: Known, wanted: number): boolean {
    const views = new Set([...epochs.values()].map(({ viewLsn }) => viewLsn))
    for (let lsn = Math.max(committed, FIRST_LSN) + 1; lsn <= wanted; lsn++) if (!views.has(lsn)) return false
    return true
  }

  /** The views that it follows, back to the newest that is committed. */
  #before(known: Known, epoch: InEpoch): InEpoch[] {
    const list: InEpoch[] = []
    for (let { before } = epoch; before !== undefined;) {
      const each = known.epochs.get(before)
      if (each === undefined) break
      list.push(each)
      before = each.isCommitted ? undefined : each.before
    }
    return list
  }

  #inEpoch(volume: VolumeId, epoch: string): InEpoch {
    const { epochs } = this.#of(volume)
    const known = epochs.get(epoch) ?? this.#newEpoch()
    epochs.set(epoch, known)
    return known
  }

  #newEpoch(): InEpoch {
    return {
      followers: new Map<number, Progress>(),
      viewLsn: FIRST_LSN,
      leader: this.#first[0] ?? 0,
      voters: this.#first,
      before: undefined,
      isCommitted: true,
    }
  }

  #of(volume: VolumeId): Known {
    const known = this.#known.get(volume) ?? { epochs: new Map<string, InEpoch>(), committed: 0 }
    this.#known.set(volume, known)
    return known
  }
}
