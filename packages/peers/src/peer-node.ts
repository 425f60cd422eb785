/**
 * This host among the others: knows the members and whether they answer, asks them and answers them, finds volumes.
 * Composes the parts; each has its own file and idea.
 */
import './promise-with-resolvers.js'
import { EventEmitter } from 'node:events'
import type { HostId, VolumeId } from '@cloudfs/interface'
import { hexToBytes } from '@cloudfs/interface'
import { type Announcement, HostInfo } from './announcement.js'
import { Contacts, type ContactsEvents } from './contacts.js'
import { Deadline, orAborted } from './deadline.js'
import { PeerProtocolError, PeersClosedError, PeerTimeoutError } from './errors.js'
import { Finder } from './finder.js'
import type { Message } from './frame.js'
import { type HostKey, hostIdOf } from './host-key.js'
import type { HostBook } from './host-trust.js'
import { PEER_LIMITS, type PeerLimits } from './limits.js'
import type { MemberState } from './member-table.js'
import { Pulse } from './pulse.js'
import { RequestClient, type RequestOptions, REQUEST_PROTOCOL } from './request-client.js'
import type { RequestKind } from './request.js'
import { type Handler, RequestServer } from './request-server.js'
import { type Clock, Roster } from './roster.js'
import { createSwarm, reachableAddresses, startSwarm, type Swarm } from './swarm.js'

export interface PeerNodeOptions {
  readonly key: HostKey
  /** What the host is called; `hostIdOf(key.publicKey)`. Constant across restarts: others bind it to the key. */
  readonly hostId?: HostId
  /** What to tell the others about this host; see `update`. */
  readonly info: HostInfo
  /** Remembers the others between starts. */
  readonly book: HostBook
  /** Multiaddrs: `/ip4/0.0.0.0/tcp/8092`; port 0 takes any. */
  readonly listen: readonly string[]
  /** Multiaddrs to give to the others instead of those listened at: behind address translation. */
  readonly announce?: readonly string[]
  /** Multiaddrs of some hosts of the cluster; `/p2p/…` at the end is checked where given. */
  readonly bootstrap?: readonly string[]
  /**
   * Registers handlers and the volumes held, before anybody can ask. What comes later is met with `ERR_UNKNOWN_REQUEST`
   * until then.
   */
  readonly prepare?: (node: PeerNode) => void
  /**
   * Find hosts of the local network by multicast; no. Without a private-network key, that joins whatever cluster is
   * there.
   */
  readonly mdns?: boolean
  /** Take part in the distributed hash table; yes. */
  readonly dht?: boolean
  /** 32 bytes that all hosts of the cluster share: closes it to strangers before the first handshake. */
  readonly privateNetworkKey?: Uint8Array
  /** Other bounds than `PEER_LIMITS`. */
  readonly limits?: Partial<PeerLimits>
  /** The machine's. */
  readonly clock?: Clock
  /** `Math.random`: spreads redials. */
  readonly random?: () => number
}

/** Another host, as seen from here. */
export interface PeerMember {
  readonly hostId: HostId
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array
  /** What this host sees: heard lately; not for a while; not for long. */
  readonly state: MemberState
  /** By the wall clock, in milliseconds; `undefined`: never since this node started. */
  readonly seenAtMs: number | undefined
  readonly addresses: readonly string[]
  /** What it said of itself last. */
  readonly info: HostInfo
}

export interface PeerNodeEvents extends ContactsEvents {
  'member-up': [PeerMember]
  'member-suspect': [PeerMember]
  'member-down': [PeerMember]
  /** A member is new, or said something new of itself. */
  'member-changed': [PeerMember]
  /** News of a host was not taken: forged, malformed, or at odds with the key its id is bound to. */
  rejected: [error: Error]
  /** The book failed to save. */
  unsaved: [error: unknown]
  /** A handler failed without a code: a bug. */
  bug: [failure: { readonly request: string; readonly error: unknown }]
}

/** On a connection, each way: the one in use, and one that takes over from a failed one. */
const REQUEST_STREAMS_MAX = 2

/** Each round pings and dials what is due. */
const ROUNDS_PER_PING = 4
const ROUND_MS_MAX = 250

const machineClock: Clock = { monotonicMs: () => performance.now(), wallMs: () => Date.now() }

export class PeerNode extends EventEmitter<PeerNodeEvents> {
  readonly #limits: PeerLimits
  readonly #swarm: Swarm
  readonly #roster: Roster
  readonly #client: RequestClient
  readonly #server: RequestServer
  readonly #contacts: Contacts
  readonly #finder: Finder
  readonly #pulse: Pulse
  #timer: NodeJS.Timeout | undefined
  #info: HostInfo
  #closing: Promise<void> | undefined

  /**
   * Listens, and from then on keeps in touch with the hosts it is told of, by whomever. Does not wait for any of them: at
   * power-up they may all be starting.
   *
   * @throws {PeerListenError} an address cannot be listened at
   * @throws {PeerProtocolError} `info` is not what others would take
   * @throws what `book.load` fails with
   */
  static async start(options: PeerNodeOptions): Promise<PeerNode> {
    const limits = { ...PEER_LIMITS, ...options.limits }
    const { key, privateNetworkKey, book, clock = machineClock } = options
    const hostId = options.hostId ?? hostIdOf(key.publicKey)
    const info = checked(options.info)
    const roster = new Roster({ key, hostId, info, book, clock, limits })
    await roster.load()
    const swarm = await createSwarm({
      key,
      listen: options.listen,
      announce: options.announce ?? [],
      mdns: options.mdns ?? false,
      dht: options.dht ?? true,
      privateNetworkKey,
      limits,
    })
    const node = new PeerNode({ ...options, clock }, limits, roster, swarm, info)
    try {
      options.prepare?.(node)
      await node.#open(options.listen)
      return node
    } catch (error) {
      await node.close()
      throw error
    }
  }

  private constructor(
    options: PeerNodeOptions & { clock: Clock },
    limits: PeerLimits,
    roster: Roster,
    swarm: Swarm,
    info: HostInfo,
  ) {
    super()
    const { clock, bootstrap = [], random = Math.random } = options
    this.#limits = limits
    this.#swarm = swarm
    this.#roster = roster
    this.#info = info
    const client = new RequestClient(limits)
    const server = new RequestServer({
      limits,
      whoIs: (connection) => this.#contacts.whoIs(connection),
      onHeard: (host) => {
        roster.hear(host)
      },
      onBug: (request, error) => {
        this.emit('bug', { request, error })
      },
    })
    const hasPrivateNetworkKey = options.privateNetworkKey !== undefined
    const contacts = new Contacts({
      swarm,
      roster,
      client,
      server,
      bootstrap,
      hasPrivateNetworkKey,
      clock,
      random,
      limits,
    })
    const pulse = new Pulse({ roster, contacts, client, server, clock, limits })
    this.#client = client
    this.#server = server
    this.#contacts = contacts
    this.#finder = new Finder({ swarm, roster, contacts, client, server, limits })
    this.#passOn(roster, contacts)
    this.#pulse = pulse
  }

  get hostId(): HostId {
    return this.#roster.hostId
  }

  /** Multiaddrs at which others reach this node. */
  get addresses(): readonly string[] {
    return this.#roster.own.announcement.addresses
  }

  /** The other hosts known, whatever their state. */
  members(): PeerMember[] {
    return this.#roster.members().map((member) => this.#describe(member))
  }

  member(hostId: HostId): PeerMember | undefined {
    const member = this.#roster.get(hostId)
    return member && this.#describe(member)
  }

  /**
   * Tells the others something else of this host. They learn it within a few pings. Call it as values change, but not
   * faster than people or policies need: each change travels to every host.
   *
   * @throws {PeerProtocolError} `info` is not what others would take
   */
  update(info: HostInfo): void {
    this.#info = checked(info)
    this.#announce()
  }

  /**
   * Connects to whoever is at these multiaddrs, and waits until both know each other.
   *
   * @returns who it is
   * @throws {PeerUnreachableError} nothing listens there, or the way there is closed
   * @throws {PeerTimeoutError} no answer in time
   * @throws {PrivateNetworkError} the private-network keys differ
   * @throws {PeerHandshakeError} what listens there is no node
   * @throws {HostKeyMismatchError} the host's id is known here by another key, or the address names another key
   * @throws {RemoteError} the host refuses this one: `ERR_HOST_KEY_MISMATCH` if it knows its id by another key
   */
  async connect(addresses: readonly string[], options: RequestOptions = {}): Promise<HostId> {
    this.#refuseIfClosing()
    const timeoutMs = options.timeoutMs ?? this.#limits.dialTimeoutMs + this.#limits.helloTimeoutMs
    const late = () =>
      new PeerTimeoutError(`no connection to ${addresses.join(', ')} within ${String(timeoutMs)} ms`)
    using deadline = new Deadline(timeoutMs, late, options.signal)
    return await orAborted(this.#contacts.connect(addresses, deadline.signal), deadline.signal)
  }

  /**
   * Asks a host, dialling it if need be.
   *
   * @throws {UnknownHostError} nobody told of such a host
   * @throws what `connect` and `RequestClient.request` do
   */
  async request<Request extends Message, Answer extends Message>(
    host: HostId,
    kind: RequestKind<Request, Answer>,
    message: Request,
    options: RequestOptions = {},
  ): Promise<Answer> {
    this.#refuseIfClosing()
    const connect = (signal: AbortSignal) => this.#contacts.reach(host, signal)
    const answer = await this.#client.request(host, connect, kind, message, options)
    this.#roster.hear(host)
    return answer
  }

  /**
   * Answers requests of one kind from hosts that have said hello; `caller` is proved by its key. A coded error that the
   * handler throws reaches the caller under its code; any other stays here (event `bug`) and reads `ERR_PEER_INTERNAL`
   * there. A kind has one handler.
   */
  handle<Request extends Message, Answer extends Message>(
    kind: RequestKind<Request, Answer>,
    handler: Handler<HostId, Request, Answer>,
  ): void {
    this.#server.handle(kind, handler)
  }

  /** This host holds a replica of the volume from now on, and says so to whoever looks for it. */
  provide(volume: VolumeId): void {
    this.#finder.provide(volume)
  }

  /** This host no longer holds the volume. */
  withdraw(volume: VolumeId): void {
    this.#finder.withdraw(volume)
  }

  /**
   * Hosts that said just now that they hold the volume, this one included; none if no host that answers does. With more
   * members than `askAllMax` possibly not all of them: any one knows the view, which names them.
   */
  async findHosts(volume: VolumeId, options: RequestOptions = {}): Promise<HostId[]> {
    this.#refuseIfClosing()
    return this.#finder.find(volume, options)
  }

  /**
   * Forgets a host and the key its id was bound to: for a host that is gone for good, or lost its `host.key`. The caller
   * removes it from the book. While others know it, it is heard of again.
   */
  forget(host: HostId): void {
    this.#contacts.hangUp(host)
    this.#roster.forget(host)
  }

  /** Refuses new work, ends what is under way, leaves the network. May be called twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** Everything that answers is in place before anybody can ask. */
  async #open(listen: readonly string[]): Promise<void> {
    this.#swarm.addEventListener('self:peer:update', () => {
      this.#announce()
    })
    this.#contacts.start()
    await this.#swarm.handle(
      REQUEST_PROTOCOL,
      (stream, connection) => {
        this.#server.serve(stream, connection)
      },
      { maxInboundStreams: REQUEST_STREAMS_MAX, maxOutboundStreams: REQUEST_STREAMS_MAX },
    )
    await startSwarm(this.#swarm, listen)
    this.#announce()
    const round = () => {
      this.#pulse.tick()
      this.#contacts.tick()
    }
    this.#timer = setInterval(round, Math.min(ROUND_MS_MAX, this.#limits.pingIntervalMs / ROUNDS_PER_PING))
    round()
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer)
    this.#contacts.close()
    this.#finder.close()
    this.#client.close()
    const late = () => new PeersClosedError('requests under way did not end in time')
    using deadline = new Deadline(this.#limits.closeTimeoutMs, late)
    await orAborted(this.#server.close(), deadline.signal).catch(() => undefined)
    await this.#swarm.stop()
  }

  #announce(): void {
    this.#roster.update(this.#info, reachableAddresses(this.#swarm, this.#limits.addressesMax))
  }

  #describe({ announcement, state }: { announcement: Announcement; state: MemberState }): PeerMember {
    const { addresses, hostId, publicKey, revision: _revision, ...info } = announcement
    return {
      hostId,
      publicKey: hexToBytes(publicKey),
      state,
      seenAtMs: this.#roster.seenAtMs(hostId),
      addresses,
      info,
    }
  }

  #passOn(roster: Roster, contacts: Contacts): void {
    roster.on('transition', ({ hostId, state }) => {
      const member = this.member(hostId)
      if (member !== undefined) this.emit(`member-${state}`, member)
    })
    roster.on('news', ({ hostId }) => {
      const member = this.member(hostId)
      if (member !== undefined) this.emit('member-changed', member)
    })
    roster.on('rejected', (error) => this.emit('rejected', error))
    roster.on('unsaved', (error) => this.emit('unsaved', error))
    contacts.on('refused', (refusal) => this.emit('refused', refusal))
    contacts.on('unreachable', (failure) => this.emit('unreachable', failure))
  }

  #refuseIfClosing(): void {
    if (this.#closing !== undefined) throw new PeersClosedError('the node is closed')
  }
}

function checked(info: HostInfo): HostInfo {
  const parsed = HostInfo.safeParse(info)
  if (parsed.success) return parsed.data
  throw new PeerProtocolError('what this host would say of itself is malformed', { cause: parsed.error })
}
