/** Applies the log behind the checkpoint to the volumes (docs/core.md, Recovery, step 5). */
import {
  ChainBrokenError,
  type CloudfsError,
  compareEpochs,
  isCloudfsError,
  type Lsn,
  StoreCorruptError,
  VersionId,
  type VolumeId,
} from '@cloudfs/interface'
import { publicIds, startsVolume, verifyLinks } from '../chain.js'
import type { CheckpointLocal } from '../checkpoint.js'
import type { Entry } from '../entry.js'
import { decodeCreate } from '../payload.js'
import { type LogRecord } from '../record.js'
import { blocksBefore, type RecordsRun } from '../run.js'
import { type FoundBatch, placedRuns, slotOf } from './log-scan.js'
import { MapTree } from './map-tree.js'
import type { SegmentTable } from './segment-table.js'
import { isWitnessOf, type Place, StoreVolume } from './volume.js'

/** A record to apply, and where its blocks are. */
interface Pending {
  readonly run: RecordsRun
  readonly record: LogRecord
  readonly lsn: Lsn
  readonly publicId: VersionId
  readonly stored: readonly Entry[]
  /** The blocks are not here: a witness keeps none. */
  readonly isBodiless: boolean
  /** Another record took its lsn: it was never committed. */
  isReplaced: boolean
}

/** What the log says of one volume, in order of lsn. */
interface History {
  /** Applied already. */
  readonly base: { readonly lsn: Lsn; readonly publicId: VersionId } | undefined
  /** Without gaps. */
  readonly pending: Pending[]
  /** A run broke the chain; what follows it cannot be placed. */
  isBroken: boolean
}

export class Replay {
  readonly #own: Place
  readonly #table: SegmentTable
  readonly #volumes: Map<VolumeId, StoreVolume>
  readonly #locals: Map<string, CheckpointLocal>
  readonly #histories = new Map<VolumeId, History>()
  /** In the order of the log; some may have been replaced since. */
  readonly #order: { volume: VolumeId; pending: Pending }[] = []
  /** Versions that branches leave: they have to be kept when they pass. */
  readonly #branchPoints = new Map<VolumeId, Set<Lsn>>()
  /** Records that break the chain: with what follows them in their volume, they are not applied. */
  readonly faults: CloudfsError[] = []

  constructor(
    table: SegmentTable,
    volumes: Map<VolumeId, StoreVolume>,
    locals: readonly CheckpointLocal[],
    own: Place,
  ) {
    this.#own = own
    this.#table = table
    this.#volumes = volumes
    this.#locals = new Map(locals.map((local) => [localKey(local), local]))
  }

  /** The newest item of each volume and kind. */
  get locals(): CheckpointLocal[] {
    return [...this.#locals.values()]
  }

  async run(batches: readonly FoundBatch[]): Promise<void> {
    for (const found of batches) this.#read(found)
    for (const [volume, history] of this.#histories) {
      if (history.base !== undefined) this.#keepBranchPoint(this.#volumes.get(volume))
    }
    for (const { volume, pending } of this.#order) {
      if (pending.isReplaced) continue
      await this.#attempt(() => this.#apply(volume, pending))
    }
    for (const local of this.#locals.values())
      if (local.kind === 'dropped' && !this.#hasRejoined(local)) this.#volumes.delete(local.volume)
  }

  /** One that its store joined again has gone on to a later epoch. */
  #hasRejoined({ volume, epoch }: CheckpointLocal): boolean {
    const newest = this.#volumes.get(volume)?.epochs.at(-1)?.epoch
    return newest !== undefined && compareEpochs(newest, epoch) > 0
  }

  #read({ batch }: FoundBatch): void {
    for (const { run, bodyOffset, isBodiless } of placedRuns(batch)) {
      if (run.type === 'local') {
        for (const item of run.items) {
          const local = { volume: run.volume, epoch: run.epoch, ...item }
          this.#locals.set(localKey(local), local)
        }
      } else if (run.type === 'moved') {
        run.blocks.forEach(({ fromSegment, fromSlot }, index) => {
          const to = { segment: batch.segment, slot: slotOf(batch, bodyOffset, index) }
          this.#table.forward({ segment: fromSegment, slot: fromSlot }, to)
        })
      } else {
        const history = this.#historyOf(run)
        if (history.isBroken) continue
        try {
          const slotAt = (index: number): number => slotOf(batch, bodyOffset, index)
          this.#queue(run, history, { slotAt, segment: batch.segment, isBodiless })
        } catch (error) {
          history.isBroken = true
          this.#note(error)
        }
      }
    }
  }

  /** Adds a run's records behind what they follow; what stood there before was never committed. */
  #queue(
    run: RecordsRun,
    history: History,
    {
      slotAt,
      segment,
      isBodiless,
    }: { slotAt: (index: number) => number; segment: number; isBodiless: boolean },
  ): void {
    const publics = publicIds(run)
    const before = blocksBefore(run)
    this.#checkLinks(run, history, publics)
    const baseLsn = history.base?.lsn ?? 0
    run.records.forEach((record, index) => {
      const lsn = (run.firstLsn + index) as Lsn
      if (lsn <= baseLsn) return
      const start = before[index] ?? 0
      const sums = record.kind === 'write' ? record.sums : []
      const stored = sums.map(({ crc }, i) => ({ segment, slot: slotAt(start + i), birth: lsn, crc }))
      const pending = {
        run,
        record,
        lsn,
        publicId: publics[index] ?? run.lastPublic,
        stored,
        isBodiless,
        isReplaced: false,
      }
      const firstLsn = history.pending[0]?.lsn ?? lsn
      for (const replaced of history.pending.splice(Math.max(0, lsn - firstLsn))) replaced.isReplaced = true
      history.pending.push(pending)
      this.#order.push({ volume: run.volume, pending })
      if (record.kind === 'create') this.#noteBranchPoint(decodeCreate(record.payload).parent)
    })
  }

  #historyOf(run: RecordsRun): History {
    const known = this.#histories.get(run.volume)
    if (known !== undefined) return known
    const volume = this.#volumes.get(run.volume)
    const base = volume && { lsn: volume.lsn, publicId: volume.publicId }
    const history: History = { base, pending: [], isBroken: false }
    this.#histories.set(run.volume, history)
    return history
  }

  #checkLinks(run: RecordsRun, history: History, publics: readonly VersionId[]): void {
    const { base, pending } = history
    const appliedIndex = (base?.lsn ?? 0) - run.firstLsn
    if (base !== undefined && appliedIndex >= 0 && appliedIndex < publics.length) {
      if (publics[appliedIndex] === base.publicId) return
      throw new ChainBrokenError(
        `volume ${run.volume}: record ${String(base.lsn)} in the log is not the one the checkpoint was made of`,
        { volume: run.volume, lsn: base.lsn },
      )
    }
    if (appliedIndex >= publics.length) return
    if (startsVolume(run)) {
      verifyLinks(run, VersionId.zero)
      return
    }
    const previousLsn = run.firstLsn - 1
    const previous = base?.lsn === previousLsn ? base : pending[previousLsn - (pending[0]?.lsn ?? 0)]
    if (previous === undefined) {
      throw new StoreCorruptError(`volume ${run.volume}: nothing is known of record ${String(previousLsn)}`, {
        volume: run.volume,
        lsn: previousLsn,
      })
    }
    verifyLinks(run, previous.publicId)
  }

  #noteBranchPoint(parent: { volume: VolumeId; lsn: Lsn } | undefined): void {
    if (parent === undefined) return
    const points = this.#branchPoints.get(parent.volume) ?? new Set()
    this.#branchPoints.set(parent.volume, points.add(parent.lsn))
    const volume = this.#volumes.get(parent.volume)
    if (volume?.lsn === parent.lsn) this.#keepBranchPoint(volume)
  }

  #keepBranchPoint(volume: StoreVolume | undefined): void {
    if (volume === undefined || this.#branchPoints.get(volume.id)?.has(volume.lsn) !== true) return
    if (!volume.versions.has(volume.lsn)) volume.keepVersion()
  }

  async #apply(id: VolumeId, pending: Pending): Promise<void> {
    const { run, record, lsn, publicId, stored } = pending
    let volume = this.#volumes.get(id)
    if (record.kind === 'create') {
      volume = StoreVolume.begin(id, record, run.epoch, publicId, this.#contentsBelow(record.payload))
      this.#volumes.set(id, volume)
    } else if (volume?.lsn === lsn - 1) {
      const isWitness = volume.isWitness(this.#own)
      if (pending.isBodiless && !isWitness)
        throw new StoreCorruptError(
          `volume ${id}: record ${String(lsn)} is here without its blocks, and this store is no witness`,
          { volume: id, lsn },
        )
      await volume.apply(record, run.epoch, lsn, publicId, isWitness ? undefined : stored)
    }
    this.#keepBranchPoint(volume)
  }

  /** What a new volume starts with. */
  #contentsBelow(createPayload: Uint8Array): MapTree {
    const { parent, view } = decodeCreate(createPayload)
    if (parent === undefined || isWitnessOf(view, this.#own))
      return new MapTree((entry) => this.#table.readPage(entry))
    const version = this.#volumes.get(parent.volume)?.versions.get(parent.lsn)
    if (version !== undefined) return version.map.fork()
    throw new StoreCorruptError(
      `version ${String(parent.lsn)} of volume ${parent.volume} has a branch and is not here`,
      {
        volume: parent.volume,
        lsn: parent.lsn,
      },
    )
  }

  async #attempt(step: () => Promise<void>): Promise<void> {
    try {
      await step()
    } catch (error) {
      this.#note(error)
    }
  }

  #note(error: unknown): void {
    if (!isCloudfsError(error)) throw error
    this.faults.push(error)
  }
}

function localKey({ volume, kind }: CheckpointLocal): string {
  return `${volume}.${kind}`
}
