/**
 * Disks that lie, at the end of a life: bits flip, or a write lands elsewhere. One host's disk at a time, for nothing is
 * promised where several go. What the host then gives is right, or an error, or nothing at all; never other bytes.
 */
import type { VolumeId } from '@cloudfs/interface'
import type { Cluster } from './cluster.js'
import { BLOCK_BYTES } from './contents.js'
import type { Host } from './host.js'
import { below, chance, pick, type Random } from './random.js'
import { readExport } from './read-export.js'
import { SECOND } from './schedule.js'

interface Rot {
  readonly cluster: Cluster
  readonly random: Random
  readonly volume: VolumeId
  readonly blockCount: number
}

/** @param wanted - what the volume holds */
export async function rot({ cluster, random, volume, blockCount }: Rot, wanted: Buffer): Promise<void> {
  const host = pick(random, cluster.hosts)
  cluster.rotten = host
  host.stop()
  if (!(await cluster.runTill(() => !host.isUp, 30 * SECOND))) {
    cluster.onFault(`${host.name} does not stop`)
    return
  }
  const count = chance(random, 0.7) ? 1 : 1 + below(random, 8)
  for (let flips = 0; flips < count; flips++) {
    const { physical, offset } = host.disk.disk.anyPlace(random)
    cluster.log.story(host.name, `fault: a bit flips at ${String(physical)}:${String(offset)}`)
    host.disk.disk.flip(physical, offset, below(random, 8))
    cluster.coverage.count('fault:flipped-bit')
  }
  const { life } = host
  if (!host.isUp) host.start()
  await cluster.runTill(() => host.isReady || (host.life > life && !host.isUp), 30 * SECOND)
  if (!host.isReady) {
    cluster.coverage.count('checker:rotten store refused')
    return
  }
  await cluster.runUntil(cluster.schedule.nowNs + SECOND)
  await compare(cluster, host, volume, wanted, blockCount)
}

async function compare(
  cluster: Cluster,
  host: Host,
  volume: VolumeId,
  wanted: Buffer,
  blockCount: number,
): Promise<void> {
  for (let block = 0; block < blockCount && cluster.fault === undefined && host.isReady; block++) {
    const range = { offset: block * BLOCK_BYTES, length: BLOCK_BYTES }
    const bytes = await readExport(cluster, host, volume, 5 * SECOND, range)
    if (typeof bytes === 'string') cluster.coverage.count(`checker:rotten block ${bytes}`)
    else if (bytes.equals(wanted.subarray(range.offset, range.offset + BLOCK_BYTES)))
      cluster.coverage.count('checker:rotten store read right')
    else
      cluster.onFault(`${host.name}, of whose disk bits flipped, gives other bytes in block ${String(block)}`)
  }
}
