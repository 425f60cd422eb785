/**
 * Disks that lie during life: bits flip, and a write turns out to have landed on another block's place, where its own keeps what
 * stood there before.
 *
 * Of one host's disk only between two quiet moments, and of blocks alone that all other members hold, synced: so a good copy is
 * always somewhere, and what repairs has to come to an end when all is whole. Only bodies of batches that are known to be
 * synced are hit: those that a start would still have to read are not, nor headers, map pages and checkpoints (rot.ts has
 * all of them, in the end of a life).
 */
import { decodeBatch, decodeSegmentHeader, placedRuns, SEGMENT_HEADER_BYTES, sumsOf } from '@cloudfs/format'
import { isCloudfsError, type VolumeId } from '@cloudfs/interface'
import type { Cluster } from './cluster.js'
import { BLOCK_BYTES } from './contents.js'
import type { SimulatedDisk } from './disk.js'
import type { Host } from './host.js'
import { below, chance, pick, type Random } from './random.js'
import { SECOND } from './schedule.js'

/** A primary keeps versions that it showed for so long. */
const SHOWN_NS = 12 * SECOND

export const rotKinds = ['bit-flip', 'misdirected'] as const

/** A block's bytes on a disk. */
interface StoredBlock {
  readonly physical: number
  readonly offset: number
  readonly block: number
  readonly birth: number
  /** What makes it this very block at any host. */
  readonly name: string
}

interface RottingParts {
  readonly cluster: Cluster
  readonly volume: VolumeId
  readonly random: Random
  /** 0: nothing rots. */
  readonly meanNs: number
}

export class Rotting {
  readonly #parts: RottingParts
  #isOn = false
  /** Whose disk rots. */
  #host: Host | undefined
  /** What was planned in an earlier one does not happen. */
  #part = 0

  constructor(parts: RottingParts) {
    this.#parts = parts
  }

  begin(): void {
    const { cluster, meanNs, random } = this.#parts
    if (meanNs === 0) return
    const host = pick(random, cluster.hosts)
    this.#host = host
    this.#isOn = true
    this.#plan(host, ++this.#part)
  }

  /** Nothing rots any more; what has rotted is bad still. */
  end(): void {
    this.#isOn = false
  }

  /** Reads all stores from end to end until nothing is bad. @returns why not */
  async heal(): Promise<string | undefined> {
    const { cluster } = this.#parts
    const host = this.#host
    if (host === undefined) return undefined
    for (let passes = 0; passes < 3; passes++) {
      // Versions that this host alone keeps, because it showed them, are gone by then.
      if (passes > 0) await cluster.runUntil(cluster.schedule.nowNs + SHOWN_NS)
      const found = await this.#scrub(host)
      if (typeof found === 'string') return found
      if (found.corrupt > 0) cluster.coverage.count('checker:rot repaired', found.repaired)
      if (found.corrupt > 0 && passes < 2) continue
      if (found.corrupt > 0) return `blocks stay bad at ${host.name}, though others have them`
      this.#host = undefined
      host.disk.isRotten = false
      for (const other of cluster.hosts) {
        const rest = await this.#scrub(other)
        if (typeof rest === 'string') return rest
        if (rest.corrupt > 0) return `${other.name} has bad blocks, though nothing rotted there`
      }
      return undefined
    }
    return undefined
  }

  async #scrub(host: Host): Promise<{ corrupt: number; repaired: number } | string> {
    let [node, block, corrupt, repaired] = [0, 0, 0, 0]
    for (;;) {
      const args = { node, block, blocksMax: 64 }
      const answer = await this.#parts.cluster.ask(host.index, 'scrub', args, 10 * SECOND)
      if (answer === undefined || answer.errorCode !== '')
        return `${host.name} cannot be read for rot: ${answer?.message ?? 'no answer'}`
      const step = answer.result as {
        node: number
        block: number
        done: boolean
        corrupt: number
        repaired: number
        pagesCorrupt: number
      }
      if (step.pagesCorrupt > 0) return `${host.name} has bad map pages`
      corrupt += step.corrupt
      repaired += step.repaired
      if (step.done) return { corrupt, repaired }
      node = step.node
      block = step.block
    }
  }

  #plan(host: Host, part: number): void {
    const { cluster, meanNs, random } = this.#parts
    cluster.schedule.after(-Math.log(1 - random()) * meanNs, () => {
      if (!this.#isOn || part !== this.#part) return
      const kind = pick(random, rotKinds)
      if (host.isUp && this.#strike(kind, host)) {
        host.disk.hasRotted = host.disk.isRotten = true
        cluster.coverage.count(`fault:${kind}`)
      }
      this.#plan(host, part)
    })
  }

  #strike(kind: (typeof rotKinds)[number], host: Host): boolean {
    const { cluster, random, volume } = this.#parts
    const others = cluster.hosts.filter((one) => one !== host)
    const held = others.map((one) => new Set(storedBlocks(one.disk.disk, volume).map(({ name }) => name)))
    const blocks = storedBlocks(host.disk.disk, volume).filter(({ name }) =>
      held.every((names) => names.has(name)),
    )
    // Most often what some version still needs: the newest of its place.
    const newest = new Map<number, StoredBlock>()
    for (const one of blocks) {
      const other = newest.get(one.block)
      if (other === undefined || other.birth <= one.birth) newest.set(one.block, one)
    }
    const choice = chance(random, 0.8) ? [...newest.values()] : blocks
    if (choice.length < 2) return false
    const target = pick(random, choice)
    const { disk } = host.disk
    cluster.log.story(
      host.name,
      `fault: ${kind} of block ${String(target.block)} born ${String(target.birth)}`,
    )
    if (kind === 'bit-flip') {
      disk.flip(target.physical, target.offset + below(random, BLOCK_BYTES), below(random, 8))
      return true
    }
    const strayed = pick(
      random,
      choice.filter((one) => one !== target),
    )
    const before = chance(random, 0.5) ? undefined : pick(random, blocks)
    disk.misdirect(strayed, target, BLOCK_BYTES, before)
    return true
  }
}

/** The volume's blocks in batches of which a later one says that they are synced: those that a power cut leaves. */
function storedBlocks(disk: SimulatedDisk, volume: VolumeId): StoredBlock[] {
  const found: (StoredBlock & { readonly sequence: bigint })[] = []
  let syncedSequence = 0n
  for (const [physical, bytes] of disk.kept()) {
    for (const { batch, blocks } of batchesIn(bytes, volume)) {
      if (batch.syncedSequence > syncedSequence) syncedSequence = batch.syncedSequence
      for (const block of blocks) found.push({ ...block, physical, sequence: batch.sequence })
    }
  }
  return found.filter(({ sequence }) => sequence <= syncedSequence)
}

function* batchesIn(bytes: Buffer, volume: VolumeId) {
  try {
    const { logical } = decodeSegmentHeader(bytes)
    for (let offset = SEGMENT_HEADER_BYTES; offset < bytes.length;) {
      const batch = decodeBatch(bytes.subarray(offset))
      if (batch.segment !== logical || batch.offset !== offset) return
      yield { batch, blocks: blocksOf(batch, volume) }
      offset += batch.batchBytes
    }
  } catch (error) {
    // Behind the end of a log anything may stand.
    if (!isCloudfsError(error)) throw error
  }
}

function blocksOf(batch: ReturnType<typeof decodeBatch>, volume: VolumeId) {
  return placedRuns(batch).flatMap(({ run, bodyOffset }) =>
    run.volume === volume
      ? placesOf(run).map(({ block, birth }, index) => {
          const sum = sumsOf(run)[index]
          const digest = Buffer.from(sum?.digest ?? []).toString('hex')
          return {
            offset: batch.offset + bodyOffset + index * BLOCK_BYTES,
            block,
            birth,
            name: `${String(block)} ${String(birth)} ${digest}`,
          }
        })
      : [],
  )
}

/** Which block each of a run's body is, and which update wrote it. */
function placesOf(run: ReturnType<typeof decodeBatch>['runs'][number]): { block: number; birth: number }[] {
  if (run.type === 'moved') return run.blocks.map(({ block, birth }) => ({ block, birth }))
  if (run.type === 'local') return []
  return run.records.flatMap((record, index) =>
    record.kind === 'write'
      ? record.extents.flatMap(({ kind, block, count }) =>
          kind === 'data'
            ? Array.from({ length: count }, (_, at) => ({ block: block + at, birth: run.firstLsn + index }))
            : [],
        )
      : [],
  )
}
