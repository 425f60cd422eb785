/** What `npm start` shows: a cluster with a disk, and how they are, until Ctrl-C. */
import { setTimeout as delay } from 'node:timers/promises'
import { NodeClient } from '@cloudfs/http'
import { isCloudfsError, parseBytes } from '@cloudfs/interface'
import { statusText } from '../commands/status.js'
import { say, talk } from '../output.js'
import type { DevCluster } from './cluster.js'

const DISK_NAME = 'demo'
const DISK_SIZE = '256M'
const REFRESH_MS = 2_000

const REPLICAS = 3

/** Runs until SIGINT or SIGTERM; then stops the nodes, whose disks the next start finds again. */
export async function runDemo(cluster: DevCluster, nodeCount: number): Promise<void> {
  const ended = new AbortController()
  const end = (): void => {
    ended.abort()
  }
  process.once('SIGINT', end).once('SIGTERM', end)
  talk(`starting ${String(nodeCount)} nodes under ${cluster.directory}`)
  try {
    const nodes = await cluster.up(nodeCount)
    const client = new NodeClient({ url: nodes[0]?.url ?? '' })
    const disk = await ensureDisk(client, Math.min(REPLICAS, nodeCount))
    const attachment = await client.call('attach', { body: { volume: disk } })
    say(`disk ${disk}\n${attachment.uri}`)
    // In a clone `cloudfs` is on no path.
    const program = process.env['npm_lifecycle_event'] === 'start' ? 'npm start --' : 'cloudfs'
    talk(
      `in another terminal: ${program} status, ls, branch ${DISK_NAME}; nbdinfo and qemu-img take the URI; Ctrl-C stops the nodes and keeps the disk`,
    )
    await show(client, ended.signal)
  } finally {
    talk('stopping the nodes; the next start finds the disk again')
    await cluster.down()
  }
}

async function ensureDisk(client: NodeClient, replicas: number): Promise<string> {
  const disks = await client.call('volumes')
  const present = disks.find(({ name }) => name === DISK_NAME)
  if (present !== undefined) return present.volume
  const body = { replicas, sizeBytes: parseBytes(DISK_SIZE), name: DISK_NAME }
  return (await client.call('newVolume', { body })).volume
}

/** On a terminal the picture is redrawn; into a file or pipe it is printed when it changes. */
async function show(client: NodeClient, signal: AbortSignal): Promise<void> {
  let last = ''
  while (!signal.aborted) {
    const text = await client.call('status').then(statusText, (error: unknown) => {
      if (!isCloudfsError(error)) throw error
      return error.message
    })
    if (text !== last) {
      if (process.stdout.isTTY && last !== '')
        process.stdout.write(`\u001b[${String(last.split('\n').length + 1)}A\u001b[J`)
      say(`\n${text}`)
      last = text
    }
    await delay(REFRESH_MS, undefined, { signal }).catch(() => undefined)
  }
}
