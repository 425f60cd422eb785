/**
 * A volume that is deleted in the end of some lives, while some of its hosts are down or cut off: whoever comes back has nothing of
 * it any more, and its space is free everywhere.
 */
import type { VolumeId, VolumeStatus } from '@cloudfs/interface'
import type { Cluster } from './cluster.js'
import type { Host } from './host.js'
import { chance, pick, type Random, spread } from './random.js'
import { MILLISECOND, SECOND } from './schedule.js'

const PATIENCE_NS = 30 * SECOND

interface DeletionParts {
  readonly cluster: Cluster
  readonly volume: VolumeId
  readonly random: Random
}

/** Clients are to be quiet, and nobody has it attached. */
export async function deleteVolume(parts: DeletionParts): Promise<void> {
  const { cluster, random } = parts
  const comeBack = goAway(parts)
  await cluster.runUntil(cluster.schedule.nowNs + spread(random, MILLISECOND, SECOND))
  if (chance(random, 0.5)) cluster.schedule.after(spread(random, MILLISECOND, 2 * SECOND), comeBack)
  if (!(await isDeletedAtPrimary(parts))) return
  comeBack()
  const untilNs = cluster.schedule.nowNs + PATIENCE_NS
  let left: string | undefined
  do {
    await cluster.runUntil(cluster.schedule.nowNs + 200 * MILLISECOND)
    left = await whatIsLeft(parts)
  } while (left !== undefined && cluster.schedule.nowNs < untilNs && cluster.fault === undefined)
  if (left !== undefined) cluster.onFault(`of a deleted volume something is left: ${left}`)
  for (const host of cluster.hosts) {
    const audit = await cluster.ask(host.index, 'audit', {}, PATIENCE_NS)
    if (audit?.errorCode !== '')
      cluster.onFault(`audit of ${host.name} behind a deletion: ${audit?.message ?? 'no answer'}`)
  }
}

/** A minority of the voters, the primary not among them, and any others. @returns what ends it */
function goAway({ cluster, random, volume }: DeletionParts): () => void {
  const voters = cluster.sets.now.filter(({ isVoter }) => isVoter).map(({ index }) => cluster.host(index))
  const others = cluster.hosts.filter((host) => !voters.includes(host) && chance(random, 0.3))
  const away: Host[] = [...others]
  const primary = cluster.host(cluster.leaderOf(volume))
  for (let count = Math.floor((voters.length - 1) / 2); count > 0; count--) {
    const one = pick(
      random,
      voters.filter((host) => host !== primary),
    )
    voters.splice(voters.indexOf(one), 1)
    if (chance(random, 0.8)) away.push(one)
  }
  const ends: (() => void)[] = []
  for (const host of away) {
    cluster.log.story(host.name, 'is away while the volume is deleted')
    cluster.coverage.count('fault:away at a deletion')
    if (chance(random, 0.5)) {
      host.kill()
      ends.push(() => {
        if (!host.isUp) host.start()
      })
      continue
    }
    for (const { index } of cluster.hosts)
      if (index !== host.index)
        ends.push(cluster.network.cutOff(host.index, index), cluster.network.cutOff(index, host.index))
  }
  return () => {
    for (const end of ends.splice(0)) end()
  }
}

/** Asked again, for who leads may have gone. */
async function isDeletedAtPrimary({ cluster, volume, random }: DeletionParts): Promise<boolean> {
  const untilNs = cluster.schedule.nowNs + PATIENCE_NS
  let code = 'nobody answers'
  while (cluster.schedule.nowNs < untilNs && cluster.fault === undefined) {
    const answer = await cluster.ask(cluster.leaderOf(volume), 'delete', { volume }, 5 * SECOND)
    code = answer?.errorCode ?? 'no answer'
    cluster.coverage.count(`operator:delete${code === '' ? '' : ` ${code}`}`)
    // One that was not answered may be done.
    if (code === '' || code === 'ERR_UNKNOWN_VOLUME') return true
    await cluster.runUntil(cluster.schedule.nowNs + spread(random, 50 * MILLISECOND, SECOND))
  }
  cluster.onFault(`a volume cannot be deleted: ${code}`)
  return false
}

async function whatIsLeft({ cluster, volume }: DeletionParts): Promise<string | undefined> {
  for (const host of cluster.hosts) {
    const answer = await cluster.ask(host.index, 'volumes', { volume, all: true }, SECOND)
    if (answer?.errorCode !== '') return `${host.name} does not answer`
    const status = (answer.result as VolumeStatus[])[0]
    if (status !== undefined && !status.deletionCommitted && !status.left)
      return `${host.name} has it at update ${String(status.lsn)}`
    const stats = await cluster.ask(host.index, 'stats', {}, SECOND)
    const liveBytes = (stats?.result as { liveBytes?: number } | undefined)?.liveBytes
    if (liveBytes !== 0) return `${String(liveBytes)} bytes in use at ${host.name}`
  }
  cluster.coverage.count('checker:nothing is left of a deleted volume')
  return undefined
}
