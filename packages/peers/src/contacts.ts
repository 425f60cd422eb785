/**
 * Connections to the other hosts: dials those it should be in touch with, says hello on what it opened, closes what does
 * not, and knows which host is at the other end.
 */
import { EventEmitter } from 'node:events'
import type { HostId } from '@cloudfs/interface'
import type { Connection, PeerInfo } from '@libp2p/interface'
import { Deadline, sharedAbortController } from './deadline.js'
import {
  PeerProtocolError,
  PeersClosedError,
  PeerTimeoutError,
  PeerUnreachableError,
  UnknownHostError,
} from './errors.js'
import { Gate } from './gate.js'
import type { PeerLimits } from './limits.js'
import { Hello } from './own-requests.js'
import type { RequestClient } from './request-client.js'
import type { RequestServer } from './request-server.js'
import type { Clock, Roster } from './roster.js'
import { dial, type Swarm } from './swarm.js'

/** A host that could not be dialled is not dialled again by whoever asks it something before. */
const REACH_AGAIN_MS = 200
/** A host that was refused is let read why before its connection is closed. */
const REFUSAL_LINGER_MS = 500

export interface ContactsOptions {
  readonly swarm: Swarm
  readonly roster: Roster
  readonly client: RequestClient
  readonly server: RequestServer
  readonly bootstrap: readonly string[]
  readonly hasPrivateNetworkKey: boolean
  readonly clock: Clock
  readonly random: () => number
  readonly limits: PeerLimits
}

export interface ContactsEvents {
  /** A host was not let in, or did not let this one in. */
  refused: [refusal: { readonly address: string; readonly error: Error }]
  /** A host that should be reachable is not; the next attempt comes later and later. */
  unreachable: [failure: { readonly addresses: readonly string[]; readonly error: Error }]
}

/** When to dial something next. */
interface Attempt {
  dueAtMs: number
  pauseMs: number
  underWay: boolean
}

export class Contacts extends EventEmitter<ContactsEvents> {
  readonly #options: ContactsOptions
  readonly #hosts = new Map<string, HostId>()
  readonly #connections = new Map<HostId, Set<Connection>>()
  readonly #greetings = new WeakMap<Connection, Promise<HostId>>()
  readonly #memberAttempts = new Map<HostId, Attempt>()
  /** Hosts that could not be dialled a moment ago. */
  readonly #failed = new Map<HostId, { readonly error: Error; readonly untilMs: number }>()
  readonly #bootstrapAttempts: Map<string, Attempt>
  readonly #dials: Gate
  readonly #closed = sharedAbortController()
  #wasEverMet = false

  constructor(options: ContactsOptions) {
    super()
    this.#options = options
    this.#dials = new Gate(options.limits.dialsMax, 0)
    this.#bootstrapAttempts = new Map(options.bootstrap.map((each) => [each, this.#newAttempt(0)]))
  }

  /** Starts taking part: greets, lets itself be greeted, dials. Call `tick` from time to time. */
  start(): void {
    const { swarm, server } = this.#options
    server.handleRaw(Hello, ({ announcement }, connection) => this.#greeted(connection, announcement))
    swarm.addEventListener('connection:open', ({ detail }) => {
      this.#opened(detail)
    })
    swarm.addEventListener('connection:close', ({ detail }) => {
      this.#lost(detail)
    })
    swarm.addEventListener('peer:discovery', ({ detail }) => {
      this.#discovered(detail)
    })
  }

  /**
   * The host at the other end; `undefined` if it has not said hello. On a connection opened here it may ask something
   * before its own hello has been read: that is waited for.
   */
  async whoIs(connection: Connection): Promise<HostId | undefined> {
    return this.#hosts.get(connection.id) ?? (await this.#greetings.get(connection)?.catch(() => undefined))
  }

  /** A connection to a host that has been greeted; `undefined` if there is none. */
  connectionTo(host: HostId): Connection | undefined {
    for (const connection of this.#connections.get(host) ?? [])
      if (connection.status === 'open') return connection
    return undefined
  }

  /**
   * A connection to a known host: one there is, or a new one.
   *
   * @throws {UnknownHostError} nobody told of such a host
   * @throws what `dial` and the host's hello fail with
   */
  async reach(host: HostId, signal: AbortSignal): Promise<Connection> {
    const there = this.connectionTo(host)
    if (there !== undefined) return there
    const member = this.#options.roster.get(host)
    if (member === undefined) throw new UnknownHostError(`no host ${host} is known here`, { host })
    const connection = await this.#dialOnce(member.announcement, signal)
    const met = await this.#greetingOf(connection)
    if (met !== host)
      throw new PeerUnreachableError(`host ${met} answers at the addresses of host ${host}`, { host })
    return connection
  }

  /**
   * Connects to whoever is at these addresses, and learns who that is.
   *
   * @throws what `dial` and the host's hello fail with
   */
  async connect(addresses: readonly string[], signal: AbortSignal): Promise<HostId> {
    return this.#greetingOf(await this.#dial(addresses, signal))
  }

  /** Closes the connections to a host that no longer answers on them, so that it is dialled anew. */
  hangUp(host: HostId): void {
    for (const connection of this.#connections.get(host) ?? []) {
      connection.abort(new PeerTimeoutError(`host ${host} is down`))
    }
  }

  /** Dials what is due. */
  tick(): void {
    if (this.#closed.signal.aborted) return
    const members = this.#options.roster.members()
    for (const { announcement } of members) {
      const { hostId } = announcement
      if (this.connectionTo(hostId) === undefined) {
        this.#tryDial(this.#attemptFor(hostId), announcement.addresses)
      }
    }
    // Somebody else's bootstrap list may have brought us together; ours matters until then, and when all are gone.
    if (this.#wasEverMet && members.some((member) => member.state === 'up')) return
    for (const [address, attempt] of this.#bootstrapAttempts) this.#tryDial(attempt, [address])
  }

  close(): void {
    this.#closed.abort(new PeersClosedError('the node is closed'))
  }

  #newAttempt(delayMs: number): Attempt {
    const { clock, limits } = this.#options
    return { dueAtMs: clock.monotonicMs() + delayMs, pauseMs: limits.redialMsMin, underWay: false }
  }

  #attemptFor(host: HostId): Attempt {
    const { limits, roster } = this.#options
    // Two hosts that learn of each other at once would both dial and end up with two connections.
    const attempt =
      this.#memberAttempts.get(host) ?? this.#newAttempt(roster.hostId > host ? limits.dialDeferMs : 0)
    this.#memberAttempts.set(host, attempt)
    return attempt
  }

  #tryDial(attempt: Attempt, addresses: readonly string[]): void {
    const { clock, limits, random } = this.#options
    if (attempt.underWay || clock.monotonicMs() < attempt.dueAtMs || addresses.length === 0) return
    if (!this.#dials.tryEnter()) return
    attempt.underWay = true
    const dialled = async () => {
      using deadline = new Deadline(
        limits.dialTimeoutMs + limits.helloTimeoutMs,
        () => timedOut(addresses),
        this.#closed.signal,
      )
      try {
        await this.connect(addresses, deadline.signal)
        attempt.pauseMs = limits.redialMsMin
      } catch (error) {
        if (this.#closed.signal.aborted) return
        this.emit('unreachable', { addresses, error: asError(error) })
        attempt.pauseMs = Math.min(2 * attempt.pauseMs, limits.redialMsMax)
      } finally {
        // Spread out, so that a host that comes back is not met by everybody in the same moment.
        attempt.dueAtMs = clock.monotonicMs() + attempt.pauseMs * (0.5 + random() / 2)
        attempt.underWay = false
        this.#dials.leave()
      }
    }
    dialled().catch(() => undefined)
  }

  async #dial(addresses: readonly string[], signal: AbortSignal): Promise<Connection> {
    const { swarm, hasPrivateNetworkKey } = this.#options
    signal.throwIfAborted()
    return dial(swarm, addresses, hasPrivateNetworkKey, signal)
  }

  /** Many want to reach a host in the moment in which it is gone: who comes right behind one that could not hears the same. */
  async #dialOnce(
    { hostId, addresses }: { readonly hostId: HostId; readonly addresses: readonly string[] },
    signal: AbortSignal,
  ): Promise<Connection> {
    const { clock } = this.#options
    const failed = this.#failed.get(hostId)
    if (failed !== undefined && clock.monotonicMs() < failed.untilMs) throw failed.error
    try {
      const connection = await this.#dial(addresses, signal)
      this.#failed.delete(hostId)
      return connection
    } catch (error) {
      if (!signal.aborted)
        this.#failed.set(hostId, { error: asError(error), untilMs: clock.monotonicMs() + REACH_AGAIN_MS })
      throw error
    }
  }

  #opened(connection: Connection): void {
    const { limits } = this.#options
    if (connection.direction === 'outbound') {
      this.#greetingOf(connection).catch(() => undefined)
      return
    }
    const timer = setTimeout(() => {
      if (this.#hosts.has(connection.id)) return
      connection.abort(new PeerProtocolError('no hello'))
    }, limits.helloTimeoutMs)
    connection.addEventListener('close', () => {
      clearTimeout(timer)
    })
  }

  /** Who is at the other end: asked once, by whichever needs to know first. */
  #greetingOf(connection: Connection): Promise<HostId> {
    const host = this.#hosts.get(connection.id)
    if (host !== undefined) return Promise.resolve(host)
    const greeting = this.#greetings.get(connection) ?? this.#greet(connection)
    this.#greetings.set(connection, greeting)
    return greeting
  }

  async #greet(connection: Connection): Promise<HostId> {
    const { client, limits, roster } = this.#options
    try {
      const { announcement } = await client.requestOver(
        connection,
        Hello,
        { announcement: roster.own.signed },
        limits.helloTimeoutMs,
      )
      const host = await roster.meet(announcement, keyOf(connection))
      this.#bind(connection, host)
      return host
    } catch (error) {
      connection.abort(asError(error))
      if (!this.#closed.signal.aborted) this.#refuse(connection, error)
      throw error
    }
  }

  /** The other end of a connection says who it is, and is told who this is. */
  async #greeted(connection: Connection, announcement: Parameters<Roster['meet']>[0]) {
    const { roster } = this.#options
    try {
      this.#bind(connection, await roster.meet(announcement, keyOf(connection)))
      return { announcement: roster.own.signed }
    } catch (error) {
      this.#refuse(connection, error)
      setTimeout(() => {
        connection.abort(asError(error))
      }, REFUSAL_LINGER_MS)
      throw error
    }
  }

  #refuse(connection: Connection, error: unknown): void {
    this.emit('refused', { address: connection.remoteAddr.toString(), error: asError(error) })
  }

  #bind(connection: Connection, host: HostId): void {
    this.#wasEverMet = true
    if (connection.status !== 'open') return
    this.#hosts.set(connection.id, host)
    const connections = this.#connections.get(host) ?? new Set()
    this.#connections.set(host, connections.add(connection))
  }

  #lost(connection: Connection): void {
    const host = this.#hosts.get(connection.id)
    if (host === undefined) return
    this.#hosts.delete(connection.id)
    const connections = this.#connections.get(host)
    connections?.delete(connection)
    if (connections?.size === 0) {
      this.#connections.delete(host)
      this.#memberAttempts.delete(host)
      this.#failed.delete(host)
      if (!this.#closed.signal.aborted) this.#options.roster.lose(host)
    }
  }

  /** Multicast found somebody: worth a try, unless known already. */
  #discovered({ id, multiaddrs }: PeerInfo): void {
    const { roster } = this.#options
    const host = id.publicKey === undefined ? undefined : roster.hostOf(id.publicKey.raw)
    if (host !== undefined && this.connectionTo(host) !== undefined) return
    const addresses = multiaddrs.map(
      (each) => `${each.toString().replace(/\/p2p\/.*$/, '')}/p2p/${id.toString()}`,
    )
    this.#tryDial(this.#newAttempt(0), addresses)
  }
}

function keyOf(connection: Connection): Uint8Array {
  const { publicKey } = connection.remotePeer
  if (publicKey?.type !== 'Ed25519') throw new PeerProtocolError('a host has an Ed25519 key')
  return publicKey.raw
}

function timedOut(addresses: readonly string[]): PeerTimeoutError {
  return new PeerTimeoutError(`no connection to ${addresses.join(', ')} in time`)
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
