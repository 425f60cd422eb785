/**
 * Checks a stopped store from end to end: superblock, checkpoint, version nodes, map pages, space accounts, forwards,
 * every batch, the chain, and crc and digest of every block that somebody names.
 */
import type { HostId, Lsn, StoreId, VersionId, VolumeId } from '@cloudfs/interface'
import type { Mode } from '../payload.js'
import { type Finding, Findings } from './findings.js'
import type { StoreMedium } from './medium.js'
import { inspectStore, type OfflineStore } from './open-store.js'
import { References } from './references.js'
import { SegmentCheck } from './verify-segments.js'
import { verifyHeads } from './stamps.js'
import { verifyLineage } from './verify-lineage.js'
import { SpaceWalk } from './verify-space.js'

/** Where a verification is. */
export interface VerifyProgress {
  readonly phase: 'open' | 'map' | 'segments'
  readonly done: number
  /** Not known while the map is walked. */
  readonly total?: number
}

export interface VerifyOptions {
  readonly onProgress?: (progress: VerifyProgress) => void
}

/** A volume as the report tells of it. */
export interface VerifiedVolume {
  readonly volume: VolumeId
  readonly name: string
  readonly sizeBytes: bigint
  readonly mode: Mode
  readonly lsn: Lsn
  /** The head. Two replicas are equal iff their heads are. */
  readonly version: VersionId
  readonly snapshots: readonly { readonly name: string; readonly lsn: Lsn; readonly version: VersionId }[]
}

export interface VerifyReport {
  readonly store: StoreId
  readonly host: HostId
  readonly generation: bigint
  readonly segmentBytes: number
  /** Batches the checkpoint covers and batches replayed behind it. */
  readonly log: {
    readonly replaySequence: bigint
    readonly nextSequence: bigint
    readonly syncedSequence: bigint
  }
  readonly checked: {
    readonly segments: number
    readonly batches: number
    readonly records: number
    readonly pages: number
    readonly blocks: number
  }
  readonly volumes: readonly VerifiedVolume[]
  /** At most `FINDINGS_MAX`; empty = the store is sound. */
  readonly findings: readonly Finding[]
  readonly findingCount: number
  /** What is unusual and harmless: a torn copy of the superblock. */
  readonly notes: readonly Finding[]
}

/**
 * Verifies a stopped store; reads all of it and changes nothing.
 *
 * @throws {CloudfsError} the store cannot be opened at all: no superblock, a later version, a damaged checkpoint
 */
export async function verifyStore(
  medium: StoreMedium,
  { onProgress }: VerifyOptions = {},
): Promise<VerifyReport> {
  onProgress?.({ phase: 'open', done: 0 })
  const store = await inspectStore(medium)
  const findings = new Findings()
  const notes = new Findings()
  if (store.superblockFault !== undefined) notes.addError(store.superblockFault)
  for (const fault of store.faults) findings.addError(fault)
  verifyLineage(store.checkpoint, findings)
  verifyHeads(store, findings)

  const references = new References(store.table.segmentBytes)
  const space = new SpaceWalk(store, references, findings)
  await space.walkFrozen(() => onProgress?.({ phase: 'map', done: space.pageCount }))
  space.walkFinal()
  space.compareBitmaps()

  const check = new SegmentCheck(store, references, findings)
  const segments = check.segments()
  for (const [done, segment] of segments.entries()) {
    onProgress?.({ phase: 'segments', done, total: segments.length })
    await findings.attempt(() => check.check(segment), {
      logical: segment.logical,
      physical: segment.physical,
    })
  }
  onProgress?.({ phase: 'segments', done: segments.length, total: segments.length })
  return {
    store: store.superblock.store,
    host: store.superblock.host,
    generation: store.superblock.generation,
    segmentBytes: store.table.segmentBytes,
    log: {
      replaySequence: store.checkpoint.store.replaySequence,
      nextSequence: store.log.nextSequence,
      syncedSequence: store.log.syncedSequence,
    },
    checked: {
      segments: segments.length,
      batches: check.batchCount,
      records: check.recordCount,
      pages: space.pageCount + store.checkpointPages.length,
      blocks: check.blockCount,
    },
    volumes: volumesOf(store),
    findings: findings.list,
    findingCount: findings.count,
    notes: notes.list,
  }
}

function volumesOf(store: OfflineStore): VerifiedVolume[] {
  return [...store.volumes.values()]
    .filter((volume) => !volume.isDeleted)
    .map(({ id, name, sizeBytes, mode, lsn, publicId, snapshots }) => ({
      volume: id,
      name,
      sizeBytes,
      mode,
      lsn,
      version: publicId,
      snapshots: [...snapshots].map(([snapshot, version]) => ({
        name: snapshot,
        lsn: version.lsn,
        version: version.publicId,
      })),
    }))
}
