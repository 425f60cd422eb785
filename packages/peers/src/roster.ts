/**
 * Who is in the cluster, as far as this host knows: its own announcement, the others', and the rules by which news of
 * them is taken in. No connections here (see contacts.ts).
 *
 * What a host says of itself is signed and has a revision, so it may come by way of anybody, and the newest counts. That
 * is how hosts given a single common peer all learn of each other, and still know each other when it is gone.
 */
import { EventEmitter } from 'node:events'
import { bytesToHex, type HostId, hexToBytes, isCloudfsError } from '@cloudfs/interface'
import {
  type Announcement,
  type HostInfo,
  signAnnouncement,
  type SignedAnnouncement,
  verifyAnnouncement,
} from './announcement.js'
import { PeerProtocolError } from './errors.js'
import type { HostKey } from './host-key.js'
import { type HostBook, HostTrust } from './host-trust.js'
import type { PeerLimits } from './limits.js'
import { type Member, MemberTable, type Transition } from './member-table.js'

/** Time, so that tests can have their own. */
export interface Clock {
  /** Never goes back; for intervals. */
  monotonicMs(): number
  /** Of the calendar; for people, and for revisions that outlive a restart. */
  wallMs(): number
}

/** Past this, what was rejected is forgotten and may be reported again. */
const REJECTED_MAX = 1_000

export interface RosterOptions {
  readonly key: HostKey
  readonly hostId: HostId
  readonly info: HostInfo
  readonly book: HostBook
  readonly clock: Clock
  readonly limits: PeerLimits
}

export interface RosterEvents {
  /** A member's state is another. */
  transition: [Transition]
  /** A member is new, or said something new of itself. */
  news: [Announcement]
  /** An announcement or a saved host was not taken over: forged, malformed, or at odds with a binding. */
  rejected: [error: Error]
  /** The book could not save a host's new announcement; it is known until the next start only. */
  unsaved: [error: unknown]
}

export interface OwnAnnouncement {
  readonly announcement: Announcement
  readonly signed: SignedAnnouncement
}

export class Roster extends EventEmitter<RosterEvents> {
  readonly hostId: HostId
  readonly #options: RosterOptions
  readonly #table: MemberTable
  readonly #trust = new HostTrust()
  /** By the wall clock, for people. */
  readonly #seenAtMs = new Map<HostId, number>()
  /** Signatures of news that could not be taken, so that each is reported once though it is offered again and again. */
  readonly #rejected = new Set<string>()
  #info: HostInfo
  #addresses: readonly string[] = []
  #own: OwnAnnouncement

  constructor(options: RosterOptions) {
    super()
    const { clock, hostId, info, key, limits } = options
    this.#options = options
    this.hostId = hostId
    this.#info = info
    this.#trust.adopt(hostId, key.publicKey)
    this.#table = new MemberTable({ ...limits, stepMsMax: limits.pingIntervalMs }, clock.monotonicMs())
    this.#own = this.#announce(0)
  }

  get own(): OwnAnnouncement {
    return this.#own
  }

  get size(): number {
    return this.#table.size
  }

  members(): Member[] {
    return this.#table.all()
  }

  get(hostId: HostId): Member | undefined {
    return this.#table.get(hostId)
  }

  /** When a host was last heard, by the wall clock; `undefined` if not since this node started. */
  seenAtMs(hostId: HostId): number | undefined {
    return this.#seenAtMs.get(hostId)
  }

  /** The host that a key is bound to. */
  hostOf(publicKey: Uint8Array): HostId | undefined {
    return this.#trust.hostOf(publicKey)
  }

  /** Takes over the hosts known from earlier starts: down, until they are heard. */
  async load(): Promise<void> {
    for (const { announcement: signed, hostId, publicKey } of await this.#options.book.load()) {
      try {
        this.#trust.adopt(hostId, hexToBytes(publicKey))
        const announcement = verifyAnnouncement(signed)
        if (announcement?.hostId === hostId && announcement.publicKey === publicKey) {
          this.#table.learn(announcement, signed)
        }
      } catch (error) {
        this.#reject(error)
      }
    }
  }

  /** Says something else of this host from now on; the others learn of it as they ping. */
  update(info: HostInfo, addresses: readonly string[]): void {
    if (JSON.stringify([info, addresses]) === JSON.stringify([this.#info, this.#addresses])) return
    this.#info = info
    this.#addresses = addresses
    this.#own = this.#announce(this.#own.announcement.revision)
  }

  /**
   * A host introduces itself over a connection whose other end proved to hold `publicKey`. At first sight its id is bound
   * to the key, and that saved.
   *
   * @throws {HostKeyMismatchError} the id is bound to another key, or the key to another id
   * @throws {PeerProtocolError} the announcement is malformed, or another host's
   * @throws {MembersFullError} there are too many members already
   */
  async meet(signed: SignedAnnouncement, publicKey: Uint8Array): Promise<HostId> {
    const announcement = verifyAnnouncement(signed)
    if (announcement?.publicKey !== bytesToHex(publicKey)) {
      throw new PeerProtocolError("a host introduced itself with another host's announcement")
    }
    const { hostId } = announcement
    this.#trust.check(hostId, publicKey)
    const known = { hostId, publicKey: announcement.publicKey, announcement: signed }
    await this.#trust.bind(hostId, publicKey, () => this.#options.book.save(known))
    this.#take(announcement, signed)
    this.hear(hostId)
    return hostId
  }

  /** News from others. What cannot be taken is reported and passed over; the rest counts. */
  learn(news: readonly SignedAnnouncement[]): void {
    for (const signed of news) {
      if (this.#rejected.has(signed.signature)) continue
      try {
        const announcement = verifyAnnouncement(signed, (each) => this.#isNews(each, signed))
        if (announcement === undefined) continue
        this.#trust.check(announcement.hostId, hexToBytes(announcement.publicKey))
        if (announcement.hostId === this.hostId) this.#outdo(announcement)
        else this.#take(announcement, signed)
      } catch (error) {
        this.#reject(error)
        this.#rejected.add(signed.signature)
        if (this.#rejected.size > REJECTED_MAX) this.#rejected.clear()
      }
    }
  }

  /** A member was heard just now. */
  hear(hostId: HostId): void {
    this.#table.hear(hostId)
    this.#seenAtMs.set(hostId, this.#options.clock.wallMs())
    if (this.#table.get(hostId)?.state !== 'up') this.tick()
  }

  /** The last connection to a member broke. */
  lose(hostId: HostId): void {
    this.#table.lose(hostId)
    this.tick()
  }

  /** Lets time pass. @param stretch - see `MemberTable.stretch` */
  tick(stretch = this.#table.stretch): void {
    this.#table.stretch = stretch
    for (const transition of this.#table.tick(this.#options.clock.monotonicMs()))
      this.emit('transition', transition)
  }

  /** Removes a host and its binding, as an operator decided; it may come back as if new. */
  forget(hostId: HostId): void {
    this.#table.forget(hostId)
    this.#trust.forget(hostId)
    this.#seenAtMs.delete(hostId)
  }

  digest(): string {
    return this.#table.digest(this.#own.announcement)
  }

  /** The revisions known here, this host's own among them. */
  revisions(): Map<HostId, number> {
    return this.#table.revisions().set(this.hostId, this.#own.announcement.revision)
  }

  /** The announcement of a host, this one included. */
  signedOf(hostId: HostId): SignedAnnouncement | undefined {
    return hostId === this.hostId ? this.#own.signed : this.#table.get(hostId)?.signed
  }

  #isNews(announcement: Announcement, signed: SignedAnnouncement): boolean {
    const { hostId, revision } = announcement
    if (hostId === this.hostId) {
      return revision >= this.#own.announcement.revision && signed.text !== this.#own.signed.text
    }
    return revision > (this.#table.get(hostId)?.announcement.revision ?? -1)
  }

  #take(announcement: Announcement, signed: SignedAnnouncement): void {
    const before = this.#table.get(announcement.hostId)?.announcement
    if (!this.#table.learn(announcement, signed)) return
    // Only hosts that were met are in the book, with the place where they are to be found.
    const isMet = this.#trust.isBound(announcement.hostId)
    if (isMet && before !== undefined && before.addresses.join() !== announcement.addresses.join()) {
      const { hostId, publicKey } = announcement
      this.#options.book.save({ hostId, publicKey, announcement: signed }).catch((error: unknown) => {
        this.emit('unsaved', error)
      })
    }
    this.emit('news', announcement)
  }

  /** Others know a later announcement than this host makes: its clock was set back. The next one is later again. */
  #outdo(announcement: Announcement): void {
    this.#own = this.#announce(announcement.revision)
  }

  #announce(revisionBefore: number): OwnAnnouncement {
    const { clock, hostId, key } = this.#options
    const announcement = {
      ...this.#info,
      hostId,
      publicKey: bytesToHex(key.publicKey),
      addresses: [...this.#addresses],
      revision: Math.max(clock.wallMs(), revisionBefore + 1),
    }
    this.#table.ownChanged()
    return { announcement, signed: signAnnouncement(announcement, key) }
  }

  #reject(error: unknown): void {
    if (!isCloudfsError(error)) throw error
    this.emit('rejected', error)
  }
}
