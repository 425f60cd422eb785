/**
 * The hosts this one knows: what each said of itself, when it was last heard, and what that makes of its state.
 *
 * Pure: time comes in. The state is what *this* host sees: heard lately, up; not for a while, or its connection broke and
 * it has not been heard since, suspect; not for long, down. A killed host is suspect at once, for the kernel closes what it
 * had open; one without power, or behind a cut cable, only by its silence. It is never down before that: a replicator that
 * is started again is away for a second or two, and its engine goes on. What others think of a host does not count here: where to place a replica and whom
 * to ask depends on who can be reached from here. Safety never depends on it (views do that).
 */
import { createHash } from 'node:crypto'
import type { HostId } from '@cloudfs/interface'
import type { Announcement, SignedAnnouncement } from './announcement.js'
import { MembersFullError } from './errors.js'

export type MemberState = 'up' | 'suspect' | 'down'

export interface Member {
  readonly announcement: Announcement
  readonly signed: SignedAnnouncement
  readonly state: MemberState
  /** On the table's clock; `undefined`: never heard itself, only of it. */
  readonly heardAtMs: number | undefined
}

export interface Transition {
  readonly hostId: HostId
  readonly state: MemberState
}

interface Row {
  announcement: Announcement
  signed: SignedAnnouncement
  state: MemberState
  heardAtMs: number | undefined
  learntAtMs: number
  /** Its last connection broke, and it has not been heard since. */
  isLost: boolean
}

export interface MemberTableLimits {
  readonly suspectAfterMs: number
  readonly downAfterMs: number
  readonly membersMax: number
  /** A step of the clock longer than this was a standstill of this process, and says nothing about the others. */
  readonly stepMsMax: number
}

export class MemberTable {
  readonly #limits: MemberTableLimits
  readonly #rows = new Map<HostId, Row>()
  /** Time as this process saw it pass: standstills left out. */
  #clockMs = 0
  #lastMs: number
  #digest: string | undefined

  /** How much longer silence may last because there are too many members to ping each as often: 1 or more. */
  stretch = 1

  constructor(limits: MemberTableLimits, nowMs: number) {
    this.#limits = limits
    this.#lastMs = nowMs
  }

  get size(): number {
    return this.#rows.size
  }

  get(hostId: HostId): Member | undefined {
    return this.#rows.get(hostId)
  }

  all(): Member[] {
    return [...this.#rows.values()]
  }

  /** How long ago a member was heard, on this process's own time. */
  silenceMs(member: Member): number | undefined {
    return member.heardAtMs === undefined ? undefined : this.#clockMs - member.heardAtMs
  }

  /**
   * Takes a verified announcement, unless one as new is known.
   *
   * @returns whether it was news
   * @throws {MembersFullError} the table is full and no member is down
   */
  learn(announcement: Announcement, signed: SignedAnnouncement): boolean {
    const row = this.#rows.get(announcement.hostId)
    if (row !== undefined && row.announcement.revision >= announcement.revision) return false
    this.#digest = undefined
    if (row !== undefined) {
      Object.assign(row, { announcement, signed })
      return true
    }
    this.#makeRoom()
    // Nobody has reached it from here yet: it has until `downAfterMs` to turn out to be up.
    const state = 'suspect'
    this.#rows.set(announcement.hostId, {
      announcement,
      signed,
      state,
      heardAtMs: undefined,
      learntAtMs: this.#clockMs,
      isLost: false,
    })
    return true
  }

  /** The host itself was heard: an answer, a request, a hello. */
  hear(hostId: HostId): void {
    const row = this.#rows.get(hostId)
    if (row === undefined) return
    row.heardAtMs = this.#clockMs
    row.isLost = false
  }

  /** The last connection to the host broke. */
  lose(hostId: HostId): void {
    const row = this.#rows.get(hostId)
    if (row !== undefined) row.isLost = true
  }

  forget(hostId: HostId): void {
    this.#digest = undefined
    this.#rows.delete(hostId)
  }

  /** Lets time pass. @returns the members whose state is another now, each once */
  tick(nowMs: number): Transition[] {
    this.#clockMs += Math.min(Math.max(0, nowMs - this.#lastMs), this.#limits.stepMsMax)
    this.#lastMs = nowMs
    const stretch = this.stretch
    const transitions: Transition[] = []
    for (const [hostId, row] of this.#rows) {
      const state = this.#stateOf(row, stretch)
      if (state !== row.state) {
        row.state = state
        transitions.push({ hostId, state })
      }
    }
    return transitions
  }

  /** The revision known of each host. */
  revisions(): Map<HostId, number> {
    return new Map([...this.#rows].map(([hostId, row]) => [hostId, row.announcement.revision]))
  }

  /** Equal at two hosts exactly when they know the same announcements. */
  digest(own: Announcement): string {
    const known = [...this.#rows.values()].map((row) => row.announcement)
    this.#digest ??= createHash('sha256')
      .update(
        [own, ...known]
          .map((each) => `${each.hostId} ${String(each.revision)}\n`)
          .sort()
          .join(''),
      )
      .digest('hex')
    return this.#digest
  }

  /** The host's own announcement is another: the digest covers it. */
  ownChanged(): void {
    this.#digest = undefined
  }

  #stateOf(row: Row, stretch: number): MemberState {
    const silenceMs = this.#clockMs - (row.heardAtMs ?? row.learntAtMs)
    if (silenceMs >= this.#limits.downAfterMs * stretch) return 'down'
    if (row.heardAtMs === undefined || row.isLost || silenceMs >= this.#limits.suspectAfterMs * stretch)
      return 'suspect'
    return 'up'
  }

  #makeRoom(): void {
    if (this.#rows.size < this.#limits.membersMax) return
    const [longest] = [...this.#rows.values()]
      .filter((row) => row.state === 'down')
      .sort((a, b) => (a.heardAtMs ?? -1) - (b.heardAtMs ?? -1))
    if (longest === undefined) {
      throw new MembersFullError(`${String(this.#rows.size)} hosts are known and none of them is down`)
    }
    this.#rows.delete(longest.announcement.hostId)
  }
}
