/**
 * Finds the way into a cluster: a `PEER` is the HTTP address of some node, whose `GET /id` tells how replicators reach it.
 * All PEERs are asked until one connection stands to each; from then on the peer channel keeps in touch by itself.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { NodeClient, NodeIdentity } from '@cloudfs/http'
import type { PeerNode } from '@cloudfs/peers'
import type { Logger } from 'pino'
import { HTTP_PORT_DEFAULT } from './config.js'

/** Pause before a PEER is asked again; doubles up to the greatest. */
const RETRY_MS_MIN = 250
const RETRY_MS_MAX = 10_000
const TIMEOUT_MS = 5_000

/** Joins by way of each of `peers`, for as long as that takes. Resolves when all were reached, or `signal` ends it. */
export async function join(
  peers: readonly string[],
  node: PeerNode,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  await Promise.all(peers.map((peer) => joinBy(peer, node, log, signal)))
}

async function joinBy(peer: string, node: PeerNode, log: Logger, signal: AbortSignal): Promise<void> {
  const isOver = (): boolean => signal.aborted
  const client = new NodeClient({ url: urlOf(peer), timeoutMs: TIMEOUT_MS })
  for (let pauseMs = RETRY_MS_MIN; !isOver(); pauseMs = Math.min(2 * pauseMs, RETRY_MS_MAX)) {
    try {
      const { host, addresses } = NodeIdentity.parse(await client.get('/id', { signal }))
      if (host !== node.hostId) await node.connect(addresses, { signal })
      log.info({ peer, host }, 'joined')
      return
    } catch (error) {
      if (isOver()) return
      log.info({ peer, err: error }, 'not reached yet')
    }
    await delay(pauseMs, undefined, { signal }).catch(() => undefined)
  }
}

/** `HOST` or `HOST:PORT` as a URL. */
function urlOf(peer: string): string {
  return `http://${/:\d+$/.test(peer) ? peer : `${peer}:${String(HTTP_PORT_DEFAULT)}`}`
}
