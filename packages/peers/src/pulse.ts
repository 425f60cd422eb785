/**
 * Keeps the roster true: pings every member, notices who falls silent, and where a ping shows that two hosts know
 * different things of the members, brings them to the same.
 *
 * A ping carries a digest of all announcements, so in a quiet cluster an exchange costs nothing, and a change reaches
 * every host within about one ping of its source in a small cluster, within a few exchanges in a large one.
 */
import type { HostId } from '@cloudfs/interface'
import type { SignedAnnouncement } from './announcement.js'
import type { Contacts } from './contacts.js'
import { PeerTimeoutError } from './errors.js'
import { Gate } from './gate.js'
import type { PeerLimits } from './limits.js'
import { Exchange, Ping } from './own-requests.js'
import type { RequestClient } from './request-client.js'
import type { RequestServer } from './request-server.js'
import type { Clock, Roster } from './roster.js'

export interface PulseOptions {
  readonly roster: Roster
  readonly contacts: Contacts
  readonly client: RequestClient
  readonly server: RequestServer
  readonly clock: Clock
  readonly limits: PeerLimits
}

/** Exchanges may come in bursts of this many seconds' worth: when a cluster starts, all have news. */
const EXCHANGE_BURST_S = 4

export class Pulse {
  readonly #options: PulseOptions
  readonly #pingDueAtMs = new Map<HostId, number>()
  readonly #pings: Gate
  /** A token bucket. */
  #exchangesLeft: number
  #refilledAtMs: number
  readonly #exchanging = new Set<HostId>()

  constructor(options: PulseOptions) {
    const { clock, limits, roster, server } = options
    this.#options = options
    this.#pings = new Gate(limits.pingsPerSecondMax, 0)
    this.#exchangesLeft = limits.exchangesPerSecondMax * EXCHANGE_BURST_S
    this.#refilledAtMs = clock.monotonicMs()
    server.handle(Ping, () => ({ digest: roster.digest() }))
    server.handle(Exchange, ({ give, known }) => {
      roster.learn(give)
      return known === undefined ? { give: [], want: [] } : this.#compare(known)
    })
    roster.on('transition', ({ hostId, state }) => {
      if (state === 'down') options.contacts.hangUp(hostId)
    })
  }

  /** Lets time pass, and pings whoever is due. */
  tick(): void {
    const { clock, contacts, limits, roster } = this.#options
    const nowMs = clock.monotonicMs()
    this.#refill(nowMs)
    const intervalMs = Math.max(limits.pingIntervalMs, (1000 * roster.size) / limits.pingsPerSecondMax)
    roster.tick(intervalMs / limits.pingIntervalMs)
    for (const { announcement } of roster.members()) {
      const { hostId } = announcement
      if (nowMs < (this.#pingDueAtMs.get(hostId) ?? 0) || contacts.connectionTo(hostId) === undefined)
        continue
      if (!this.#pings.tryEnter()) return
      this.#pingDueAtMs.set(hostId, nowMs + intervalMs)
      this.#ping(hostId)
        // A lost ping is not news: silence is what counts, and the roster measures it.
        .catch(() => undefined)
        .finally(() => {
          this.#pings.leave()
        })
    }
    for (const hostId of this.#pingDueAtMs.keys()) {
      if (roster.get(hostId) === undefined) this.#pingDueAtMs.delete(hostId)
    }
  }

  async #ping(hostId: HostId): Promise<void> {
    const { client, contacts, limits, roster } = this.#options
    const connection = contacts.connectionTo(hostId)
    if (connection === undefined) return
    const { digest } = await client.requestOver(
      connection,
      Ping,
      { digest: roster.digest() },
      limits.pingTimeoutMs,
    )
    roster.hear(hostId)
    if (digest !== roster.digest()) await this.#exchange(hostId)
  }

  async #exchange(hostId: HostId): Promise<void> {
    const { client, contacts, limits, roster } = this.#options
    if (this.#exchanging.has(hostId) || this.#exchangesLeft < 1) return
    this.#exchangesLeft--
    this.#exchanging.add(hostId)
    const connect = () => {
      const connection = contacts.connectionTo(hostId)
      if (connection === undefined) throw new PeerTimeoutError(`host ${hostId} hung up`)
      return Promise.resolve(connection)
    }
    try {
      const known = Object.fromEntries(roster.revisions())
      const { give, want } = await client.request(hostId, connect, Exchange, { known, give: [] })
      roster.learn(give)
      const wanted = fitting(
        want.flatMap((each) => roster.signedOf(each) ?? []),
        limits.exchangeBytesMax,
      )
      if (wanted.length > 0) await client.request(hostId, connect, Exchange, { give: wanted })
    } finally {
      this.#exchanging.delete(hostId)
    }
  }

  /** What a host that knows these revisions lacks, and what it has that is newer. */
  #compare(known: Readonly<Record<string, number>>) {
    const { limits, roster } = this.#options
    const own = roster.revisions()
    const give = [...own]
      .filter(([hostId, revision]) => revision > (known[hostId] ?? -1))
      .flatMap(([hostId]) => roster.signedOf(hostId) ?? [])
    const want = Object.entries(known)
      .filter(([hostId, revision]) => revision > (own.get(hostId as HostId) ?? -1))
      .map(([hostId]) => hostId as HostId)
      .slice(0, limits.membersMax)
    return { give: fitting(give, limits.exchangeBytesMax), want }
  }

  #refill(nowMs: number): void {
    const { exchangesPerSecondMax } = this.#options.limits
    const grown = this.#exchangesLeft + (exchangesPerSecondMax * (nowMs - this.#refilledAtMs)) / 1000
    this.#exchangesLeft = Math.min(grown, exchangesPerSecondMax * EXCHANGE_BURST_S)
    this.#refilledAtMs = nowMs
  }
}

/** As many as fit one exchange; the next ping finds that something is left. */
function fitting(announcements: readonly SignedAnnouncement[], bytesMax: number): SignedAnnouncement[] {
  let bytesLeft = bytesMax
  return announcements.filter((each) => {
    bytesLeft -= 2 * each.text.length + 256
    return bytesLeft >= 0
  })
}
