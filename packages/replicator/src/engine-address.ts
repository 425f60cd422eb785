/** Where the engines of other hosts reach this host's engine. */
import { isIPv4, isIPv6 } from 'node:net'

const wildcards = new Set(['0.0.0.0', '::', ''])

/**
 * `HOST:PORT` of an engine's HTTP. An engine that listens at all addresses is reached where its replicator is.
 *
 * @param peerAddresses - multiaddrs of this host's replicator
 */
export function engineAddressOf(
  { host, port }: { readonly host: string; readonly port: number },
  peerAddresses: readonly string[],
): string {
  return hostAndPort(wildcards.has(host) ? reachable(peerAddresses) : host, port)
}

function reachable(peerAddresses: readonly string[]): string {
  const hosts = peerAddresses.flatMap((each) => /^\/(?:ip4|ip6|dns[46]?)\/([^/]+)/.exec(each)?.[1] ?? [])
  return hosts.find((host) => !isLoopback(host)) ?? hosts[0] ?? '127.0.0.1'
}

/** As in `127.0.0.1:8090` and `[::1]:8090`. */
export function hostAndPort(host: string, port: number): string {
  return `${isIPv6(host) ? `[${host}]` : host}:${String(port)}`
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'))
}
