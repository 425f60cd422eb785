/** Opens a stopped store for reading, exactly as recovery does (docs/core.md, Recovery), and changes nothing. */
import {
  type CloudfsError,
  isCloudfsError,
  StoreCorruptError,
  UnknownSnapshotError,
  UnknownVolumeError,
  AmbiguousNameError,
  type VolumeId,
  WitnessError,
} from '@cloudfs/interface'
import type { Checkpoint, CheckpointLocal } from '../checkpoint.js'
import type { Entry } from '../entry.js'
import { decodeSegmentHeader, SEGMENT_HEADER_BYTES, type SegmentHeader } from '../segment-header.js'
import type { Superblock } from '../superblock.js'
import { rollForward, type RolledForward, scanSegment, type ScannedSegment } from './log-scan.js'
import type { StoreMedium } from './medium.js'
import { readCheckpoint } from './read-checkpoint.js'
import { Replay } from './replay.js'
import { SegmentTable, type StoreSegment } from './segment-table.js'
import { chooseSuperblock } from './superblocks.js'
import { mapOf, type StoredVersion, StoreVolume } from './volume.js'

/** A store as its newest recoverable state has it. */
export interface OfflineStore {
  readonly superblock: Superblock
  /** Why the other copy of the superblock does not count, if it is damaged. */
  readonly superblockFault?: CloudfsError
  readonly checkpoint: Checkpoint
  readonly checkpointPages: readonly Entry[]
  /** Segments, with the forwards the checkpoint has. */
  readonly frozenTable: SegmentTable
  /** Segments, with the forwards after replay. */
  readonly table: SegmentTable
  readonly scanned: ReadonlyMap<number, ScannedSegment>
  readonly log: RolledForward
  readonly volumes: ReadonlyMap<VolumeId, StoreVolume>
  readonly locals: readonly CheckpointLocal[]
  /** What recovery would refuse to go on with. */
  readonly faults: readonly CloudfsError[]
}

/**
 * Opens a store for reading.
 *
 * @throws {StoreNotFoundError | StoreVersionError} there is none, or of a later version
 * @throws {StoreCorruptError | CheckpointCorruptError | ChainBrokenError} recovery would refuse it
 */
export async function openStore(medium: StoreMedium): Promise<OfflineStore> {
  const store = await inspectStore(medium)
  const [fault] = store.faults
  if (fault !== undefined) throw fault
  return store
}

/** As `openStore`, but damage in the log is told in `faults`; what can be read can be read. */
export async function inspectStore(medium: StoreMedium): Promise<OfflineStore> {
  const { superblock, fault: superblockFault } = chooseSuperblock(await medium.readSuperblocks())
  const { checkpoint, pages: checkpointPages } = await readCheckpoint(medium, superblock)
  const frozenTable = new SegmentTable(medium, 2 ** superblock.segmentLog2)
  await findSegments(medium, superblock, checkpoint, frozenTable)
  frozenTable.addForwards(checkpoint)
  const table = frozenTable.fork()

  const scanned = new Map<number, ScannedSegment>()
  const { replaySequence } = checkpoint.store
  for (const segment of table.segments.values()) {
    const { frozen } = segment
    const isOver = frozen?.state === 'sealed' && frozen.lastSequence < replaySequence
    if (segment.kind === 'index' || isOver) continue
    const end = frozen?.state === 'sealed' ? frozen.usedBytes : table.segmentBytes
    scanned.set(segment.logical, scanSegment(segment, await table.read(segment, 0, end), end))
  }
  const log = await rollForward(table, [...scanned.values()], replaySequence)

  const volumes = thawVolumes(checkpoint, (entry) => table.readPage(entry))
  const replay = new Replay(table, volumes, checkpoint.locals, superblock)
  await replay.run(log.batches)
  return {
    superblock,
    ...(superblockFault !== undefined && { superblockFault }),
    checkpoint,
    checkpointPages,
    frozenTable,
    table,
    scanned,
    log,
    volumes,
    locals: replay.locals,
    faults: [...(log.fault === undefined ? [] : [log.fault]), ...replay.faults],
  }
}

/** Segments in use when the checkpoint was frozen, and those opened since. */
async function findSegments(
  medium: StoreMedium,
  superblock: Superblock,
  checkpoint: Checkpoint,
  table: SegmentTable,
): Promise<void> {
  const inUse = new Map(
    checkpoint.segments.flatMap((segment) => (segment.state === 'free' ? [] : [[segment.physical, segment]])),
  )
  for (const physical of await medium.listSegments(table.segmentBytes)) {
    const header = await readHeader(medium, superblock, physical, table.segmentBytes)
    const frozen = inUse.get(physical)
    if (frozen !== undefined && frozen.kind !== 'unused') {
      const isSame = header?.logical === frozen.logical && header.kind === frozen.kind
      table.add({ logical: frozen.logical, physical, kind: frozen.kind, frozen, ...(isSame && { header }) })
    } else if (header !== undefined && header.logical >= checkpoint.store.nextLogical) {
      table.add({ logical: header.logical, physical, kind: header.kind, header })
    }
    inUse.delete(physical)
  }
  const [missing] = inUse.values()
  if (missing !== undefined) {
    throw new StoreCorruptError(
      `segment ${String(missing.logical)}, at place ${String(missing.physical)}, is missing`,
      {
        logical: missing.logical,
        physical: missing.physical,
      },
    )
  }
}

/** The header, if it is intact and of this store and place. */
async function readHeader(
  medium: StoreMedium,
  superblock: Superblock,
  physical: number,
  segmentBytes: number,
): Promise<SegmentHeader | undefined> {
  try {
    const header = decodeSegmentHeader(
      await medium.readSegment(physical, 0, SEGMENT_HEADER_BYTES, segmentBytes),
    )
    const isHere =
      header.store === superblock.store &&
      header.generation === superblock.generation &&
      header.physical === physical
    return isHere ? header : undefined
  } catch (error) {
    if (isCloudfsError(error)) return undefined
    throw error
  }
}

function thawVolumes(
  checkpoint: Checkpoint,
  readPage: (entry: Entry) => Promise<Entry[]>,
): Map<VolumeId, StoreVolume> {
  const nodes = new Map(checkpoint.nodes.map((node) => [node.id, node]))
  const volumes = new Map<VolumeId, StoreVolume>()
  for (const frozen of checkpoint.volumes) {
    volumes.set(frozen.id, StoreVolume.thaw(frozen, nodes.get(frozen.headNode), readPage))
  }
  for (const node of checkpoint.nodes) {
    const volume = volumes.get(node.volume)
    if (volume === undefined || (node.kind !== 'named' && node.kind !== 'hidden')) continue
    const version: StoredVersion = {
      lsn: node.lsn,
      publicId: node.publicId,
      sizeBytes: node.sizeBytes,
      map: mapOf(node, readPage),
    }
    volume.versions.set(node.lsn, version)
    if (node.kind === 'named') volume.snapshots.set(node.name, version)
  }
  return volumes
}

/**
 * What `text` names: `VOLUME`, `NAME`, `VOLUME@SNAPSHOT` or `NAME@SNAPSHOT`.
 *
 * @throws {UnknownVolumeError | UnknownSnapshotError | AmbiguousNameError} nothing, or more than one
 * @throws {WitnessError} the store keeps no data of it
 */
export function findVersion(store: OfflineStore, text: string): StoredVersion {
  const at = text.lastIndexOf('@')
  const whole = findVolume(store, text)
  const volume = whole ?? (at < 0 ? undefined : findVolume(store, text.slice(0, at)))
  if (volume?.isWitness(store.superblock) === true)
    throw new WitnessError(`this store is a witness of volume ${volume.id}: it keeps no data of it`, {
      volume: volume.id,
    })
  if (whole !== undefined) return whole
  if (volume === undefined) throw new UnknownVolumeError(`the store has no volume ${text}`, { name: text })
  const snapshot = volume.snapshots.get(text.slice(at + 1))
  if (snapshot !== undefined) return snapshot
  throw new UnknownSnapshotError(`volume ${volume.id} has no snapshot ${text.slice(at + 1)}`, {
    volume: volume.id,
  })
}

function findVolume(store: OfflineStore, text: string): StoreVolume | undefined {
  const live = [...store.volumes.values()].filter((volume) => !volume.isDeleted)
  const byId = live.find((volume) => volume.id === text.toLowerCase())
  if (byId !== undefined) return byId
  const named = live.filter((volume) => volume.name === text)
  if (named.length < 2) return named[0]
  const volumes = named.map((volume) => volume.id)
  throw new AmbiguousNameError(`several volumes are called ${text}: ${volumes.join(', ')}`, { volumes })
}

/**
 * Where the batches of a segment end, in bytes: what stands behind is not of the log. A power cut may have taken batches
 * that the checkpoint has counted, as long as they were never synced.
 */
export function endOfLog(store: OfflineStore, { logical, frozen }: StoreSegment): number {
  const isSettled = frozen !== undefined && frozen.lastSequence < store.log.nextSequence
  if (isSettled && frozen.state === 'sealed') return frozen.usedBytes
  const replayed = store.log.batches
  const { replaySequence } = store.checkpoint.store
  const found = store.scanned.get(logical)?.batches ?? []
  const last = found.findLast(
    (each) => each.batch.sequence < replaySequence || replayed.includes(each),
  )?.batch
  return Math.max(
    isSettled ? frozen.usedBytes : 0,
    last === undefined ? SEGMENT_HEADER_BYTES : last.offset + last.batchBytes,
  )
}
