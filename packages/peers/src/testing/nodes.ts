/** Real nodes on the loopback interface, with times short enough that silence is soon noticed. */
import type { HostId } from '@cloudfs/interface'
import { VolumeId } from '@cloudfs/interface'
import { afterEach, expect, vi } from 'vitest'
import { type HostBook, HostKey, type KnownHost, PeerNode, type PeerNodeOptions } from '../index.js'

/** Waits of tests end as soon as they can; this is for machines with little to spare. */
export const patience = { timeout: 30_000, interval: 20 }

const nodes: PeerNode[] = []

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})

export class MemoryBook implements HostBook {
  readonly hosts = new Map<HostId, KnownHost>()
  load = () => Promise.resolve([...this.hosts.values()])
  save = (host: KnownHost) => {
    this.hosts.set(host.hostId, host)
    return Promise.resolve()
  }
}

const quick = {
  pingIntervalMs: 100,
  pingTimeoutMs: 300,
  suspectAfterMs: 500,
  downAfterMs: 1_000,
  redialMsMin: 50,
  redialMsMax: 400,
  dialDeferMs: 100,
  exchangesPerSecondMax: 50,
}

export const info = { zone: '', draining: false, stores: [], httpPort: 0, enginePort: 0, version: '0.1.0' }

/** Without the hash table unless asked for: it is heavy. The node is closed when the test ends. */
export async function start({ limits, ...changes }: Partial<PeerNodeOptions> = {}): Promise<PeerNode> {
  const node = await PeerNode.start({
    key: HostKey.generate(),
    info,
    book: new MemoryBook(),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    dht: false,
    limits: { ...quick, ...limits },
    ...changes,
  })
  node.on('bug', ({ error }) => {
    throw error
  })
  nodes.push(node)
  return node
}

/** Nodes of which the later ones are given the first as their only bootstrap peer, once they all know each other. */
export async function startCluster(
  count: number,
  changes: Partial<PeerNodeOptions> = {},
): Promise<PeerNode[]> {
  const first = await start(changes)
  const rest = await Promise.all(
    Array.from({ length: count - 1 }, () => start({ ...changes, bootstrap: first.addresses })),
  )
  const all = [first, ...rest]
  await vi.waitFor(() => {
    for (const node of all) expect(up(node)).toHaveLength(count - 1)
  }, patience)
  return all
}

export const up = (node: PeerNode) => node.members().filter((member) => member.state === 'up')
export const coded = (code: string): unknown => expect.objectContaining({ code })
export const volume = (number: number) => VolumeId.parse(number.toString(16).padStart(40, '0'))
