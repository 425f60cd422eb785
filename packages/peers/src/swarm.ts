/**
 * libp2p as CloudFS runs it: TCP, Noise, yamux, and protocols under names of our own, so that nodes of other networks have
 * nothing in common with ours. Says in CloudFS's errors why a dial failed.
 */
import './promise-with-resolvers.js'
import { createHash } from 'node:crypto'
import { identify } from '@libp2p/identify'
import type { Connection, Libp2p } from '@libp2p/interface'
import { type KadDHT, kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { mdns } from '@libp2p/mdns'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { preSharedKey } from '@libp2p/pnet'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { reasonOf } from './deadline.js'
import {
  HostKeyMismatchError,
  PeerHandshakeError,
  PeerListenError,
  PeerTimeoutError,
  PeerUnreachableError,
  PrivateNetworkError,
} from './errors.js'
import type { HostKey } from './host-key.js'
import type { PeerLimits } from './limits.js'

/** Bytes of a private network's key. */
export const PRIVATE_NETWORK_KEY_BYTES = 32

const DHT_PROTOCOL = '/cloudfs/kad/1'
const PROTOCOL_PREFIX = 'cloudfs'

export interface SwarmOptions {
  readonly key: HostKey
  readonly listen: readonly string[]
  readonly announce: readonly string[]
  readonly mdns: boolean
  readonly dht: boolean
  readonly privateNetworkKey: Uint8Array | undefined
  readonly limits: PeerLimits
}

export type Swarm = Libp2p & { services: { dht?: KadDHT } }

/**
 * A swarm that does not listen yet.
 *
 * @throws {PeerListenError} an address to listen at or to announce is none
 */
export async function createSwarm(options: SwarmOptions): Promise<Swarm> {
  const { limits, privateNetworkKey } = options
  try {
    return await createLibp2p({
      start: false,
      privateKey: options.key.toLibp2p(),
      addresses: { listen: [...options.listen], announce: [...options.announce] },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      peerDiscovery: options.mdns ? [mdns({ serviceTag: multicastService(privateNetworkKey) })] : [],
      ...(privateNetworkKey && {
        connectionProtector: preSharedKey({ psk: swarmKeyText(privateNetworkKey) }),
      }),
      connectionManager: {
        maxConnections: limits.connectionsMax,
        maxIncomingPendingConnections: limits.handshakesMax,
        inboundConnectionThreshold: limits.connectionsPerSecondMax,
        inboundUpgradeTimeout: limits.dialTimeoutMs,
        addressDialTimeout: limits.dialTimeoutMs,
        dialTimeout: 2 * limits.dialTimeoutMs,
        maxParallelDials: limits.dialsMax,
        maxPeerAddrsToDial: limits.addressesMax,
        // Which hosts to keep in touch with is decided by the member table.
        reconnectRetries: 0,
      },
      services: {
        identify: identify({ protocolPrefix: PROTOCOL_PREFIX }),
        ping: ping({ protocolPrefix: PROTOCOL_PREFIX }),
        ...(options.dht && { dht: dhtService() }),
      },
    })
  } catch (cause) {
    throw asListenError(cause, [...options.listen, ...options.announce])
  }
}

/** @throws {PeerListenError} an address is in use, or not this host's */
export async function startSwarm(swarm: Swarm, listen: readonly string[]): Promise<void> {
  try {
    await swarm.start()
  } catch (cause) {
    throw asListenError(cause, listen)
  }
}

function asListenError(cause: unknown, addresses: readonly string[]): PeerListenError {
  return new PeerListenError(
    `cannot listen for other hosts at ${addresses.join(', ')}: ${messageOf(cause)}`,
    { cause },
  )
}

/**
 * Dials, and says what is wrong if that fails.
 *
 * @throws {PeerUnreachableError} nothing listens there, or the way there is closed
 * @throws {PrivateNetworkError} the private-network keys differ
 * @throws {PeerHandshakeError} what listens there does not speak as a node does
 * @throws {HostKeyMismatchError} the address names a key, and another host answered
 */
export async function dial(
  swarm: Swarm,
  addresses: readonly string[],
  hasPrivateNetworkKey: boolean,
  signal: AbortSignal,
): Promise<Connection> {
  const where = addresses.join(', ')
  let targets: Multiaddr[]
  try {
    targets = addresses.map((each) => multiaddr(each))
  } catch (cause) {
    throw new PeerUnreachableError(`${where} is no multiaddr, as /ip4/192.0.2.1/tcp/8092 is`, { cause })
  }
  try {
    return await swarm.dial(targets, { signal })
  } catch (error) {
    // Given up by the caller, or closing. Being out of time may mean a wrong private-network key: that is looked at below.
    if (signal.aborted && !(signal.reason instanceof PeerTimeoutError)) throw reasonOf(signal)
    throw asDialError(error, where, hasPrivateNetworkKey)
  }
}

/** Where others reach this node: loopback only if there is nothing else. */
export function reachableAddresses(swarm: Swarm, addressesMax: number): string[] {
  const all = swarm.getMultiaddrs().map((each) => each.toString())
  const outside = all.filter((each) => !/^\/(ip4\/127\.|ip6\/::1\/|dns4?\/localhost\/)/.test(each))
  return (outside.length > 0 ? outside : all).slice(0, addressesMax)
}

/** Providers are looked up among hosts of any network, private ones included: ours are. */
function dhtService() {
  return kadDHT({ protocol: DHT_PROTOCOL, clientMode: false, peerInfoMapper: passthroughMapper })
}

/** Two clusters of one network that have keys do not even see each other. */
function multicastService(privateNetworkKey: Uint8Array | undefined): string {
  if (privateNetworkKey === undefined) return '_cloudfs._udp.local'
  const cluster = createHash('sha256').update('cloudfs multicast 1\0').update(privateNetworkKey).digest('hex')
  return `_cloudfs-${cluster.slice(0, 16)}._udp.local`
}

/** The form in which libp2p takes the key: that of a `swarm.key` file. */
function swarmKeyText(key: Uint8Array): Uint8Array {
  return Buffer.from(`/key/swarm/psk/1.0.0/\n/base16/\n${Buffer.from(key).toString('hex')}\n`)
}

/** libp2p's errors tell apart by name; of several addresses the one that got furthest says most. */
function asDialError(error: unknown, where: string, hasPrivateNetworkKey: boolean): Error {
  const errors = error instanceof AggregateError ? (error.errors as unknown[]) : [error]
  const details = { cause: error, address: where }
  if (errors.some((each) => /does not match expected remote identity key/.test(messageOf(each)))) {
    return new HostKeyMismatchError(
      `another host than the one asked for answers at ${where}: its key differs from the one in the address`,
      details,
    )
  }
  if (errors.some((each) => brokeAfterConnecting(each, hasPrivateNetworkKey))) {
    return handshakeError(where, hasPrivateNetworkKey, details)
  }
  return new PeerUnreachableError(`cannot reach ${where}: ${messageOf(errors[0])}`, details)
}

/** Somebody took the connection, and then did not speak as expected. */
function brokeAfterConnecting(error: unknown, hasPrivateNetworkKey: boolean): boolean {
  if (!(error instanceof Error)) return false
  if (error.name === 'EncryptionFailedError' || error.name === 'MuxerUnavailableError') return true
  if ('syscall' in error && error.syscall !== 'connect' && error.syscall !== 'getaddrinfo') return true
  // Out of time while the two exchange what the key is made of, which is nothing but silence. A connection that is not
  // even taken ends as AbortError.
  return hasPrivateNetworkKey && error.name === 'TimeoutError'
}

function handshakeError(
  where: string,
  hasPrivateNetworkKey: boolean,
  details: { cause: unknown; address: string },
): Error {
  if (hasPrivateNetworkKey) {
    return new PrivateNetworkError(
      `no handshake with ${where}: most likely its private-network key is another than this host's, or it has none; ` +
        '(a wrong key shows only as silence or noise, so this was noticed after a few seconds at most)',
      details,
    )
  }
  return new PeerHandshakeError(
    `no handshake with ${where}: no CloudFS node listens there, or it has a private-network key and this host has none`,
    details,
  )
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
