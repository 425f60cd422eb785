/**
 * Every bound of the peer channel, in one place. A node may be started with others: tests use short times, a cluster
 * over slow links may want longer ones.
 */
import { KIB, MIB } from '@cloudfs/interface'

export interface PeerLimits {
  /** Each known host is pinged this often, as long as that makes no more than `pingsPerSecondMax`. */
  readonly pingIntervalMs: number
  /** A ping not answered in this time is lost. */
  readonly pingTimeoutMs: number
  /** In a larger cluster every host is pinged less often; the two times below stretch alike. */
  readonly pingsPerSecondMax: number
  /** Unheard for this long a host is suspect: two pings and their time-outs. Nothing new is placed on it. */
  readonly suspectAfterMs: number
  /** Unheard for this long it counts as down. */
  readonly downAfterMs: number

  /** A dial that takes longer is given up; a wrong private-network key is often noticed only then. */
  readonly dialTimeoutMs: number
  /** Dials under way at once; further ones wait for the next round. */
  readonly dialsMax: number
  /** Pause before a host that could not be reached is dialled again; doubles up to the greatest. */
  readonly redialMsMin: number
  readonly redialMsMax: number
  /** Of two hosts that learn of each other, the one with the greater id waits this long for the other to dial. */
  readonly dialDeferMs: number
  /** Connections, greeted or not; past this new ones are closed at once. */
  readonly connectionsMax: number
  /** Connections whose handshake is under way; past this new ones are closed at once. */
  readonly handshakesMax: number
  /** New connections a second from one address; past this they are closed at once. */
  readonly connectionsPerSecondMax: number
  /** A connection whose other end has not said hello in this time is closed. */
  readonly helloTimeoutMs: number

  /** A request without a time-out of its own is given up after this. */
  readonly requestTimeoutMs: number
  /** A handler that takes longer is told to stop, and its caller that it failed. */
  readonly handlerTimeoutMs: number
  /** Longest message either way, in bytes of a frame's body; what is longer goes over HTTP. */
  readonly frameBytesMax: number
  /** Requests of this host under way at one other; further ones queue. */
  readonly requestsPerHostMax: number
  /** Requests queued for one host; past this they fail with `ERR_PEER_BUSY`. */
  readonly requestsQueuedPerHostMax: number
  /** Requests of one other host under way here; past this its stream is reset. Above `requestsPerHostMax`. */
  readonly requestsFromHostMax: number
  /** Requests of all hosts under way here; past this they are answered `ERR_PEER_BUSY`. */
  readonly handlersMax: number

  /** Hosts known; past this the one down longest is forgotten, or nobody new is let in. */
  readonly membersMax: number
  /** Addresses of one host. */
  readonly addressesMax: number
  /** What a host says of itself, in bytes of JSON. */
  readonly announcementBytesMax: number
  /** Exchanges of announcements this host starts, a second. */
  readonly exchangesPerSecondMax: number
  /** Announcements in one exchange, in bytes; the rest follows in the next. */
  readonly exchangeBytesMax: number

  /** With more members than this, a volume is looked up in the distributed hash table before all are asked. */
  readonly askAllMax: number
  /** Members asked at once where a volume is. */
  readonly askConcurrency: number
  /** The distributed hash table is given this long to find a volume. */
  readonly dhtTimeoutMs: number
  /** Volumes being announced to the distributed hash table at once; further ones wait. */
  readonly providesMax: number

  /** What is under way at `close` is waited for this long, then cut off. */
  readonly closeTimeoutMs: number
}

export const PEER_LIMITS: PeerLimits = {
  pingIntervalMs: 1_000,
  pingTimeoutMs: 1_000,
  pingsPerSecondMax: 200,
  suspectAfterMs: 2_500,
  downAfterMs: 6_000,

  dialTimeoutMs: 6_000,
  dialsMax: 16,
  redialMsMin: 500,
  redialMsMax: 30_000,
  dialDeferMs: 500,
  connectionsMax: 2_200,
  handshakesMax: 64,
  connectionsPerSecondMax: 100,
  helloTimeoutMs: 5_000,

  requestTimeoutMs: 5_000,
  handlerTimeoutMs: 30_000,
  frameBytesMax: MIB,
  requestsPerHostMax: 32,
  requestsQueuedPerHostMax: 256,
  requestsFromHostMax: 64,
  handlersMax: 128,

  membersMax: 1_000,
  addressesMax: 16,
  announcementBytesMax: 16 * KIB,
  exchangesPerSecondMax: 4,
  exchangeBytesMax: 512 * KIB,

  askAllMax: 64,
  askConcurrency: 32,
  dhtTimeoutMs: 2_000,
  providesMax: 4,

  closeTimeoutMs: 2_000,
}
