/** A volume of a stopped store: its head, its snapshots, its place in the chain. */
import {
  BLOCK_BYTES,
  type Epoch,
  type HostId,
  type Lsn,
  type StoreId,
  type VersionId,
  type VolumeId,
} from '@cloudfs/interface'
import type { CheckpointNode, CheckpointVolume } from '../checkpoint.js'
import type { Entry } from '../entry.js'
import {
  type CreatePayload,
  decodeCreate,
  decodeMode,
  decodeResize,
  decodeSnapshotName,
  decodeView,
  type Mode,
  type ViewPayload,
} from '../payload.js'
import { type ControlRecord, type LogRecord } from '../record.js'
import { MapTree, type PageReader } from './map-tree.js'

/** Contents that can be read: a head, a snapshot, or where a branch left. */
export interface StoredVersion {
  readonly lsn: Lsn
  readonly publicId: VersionId
  readonly sizeBytes: bigint
  readonly map: MapTree
}

/** Whose store it is. */
export interface Place {
  readonly host: HostId
  readonly store: StoreId
}

/** As the first view has it: who is the volume's witness stays it. */
export function isWitnessOf({ members }: ViewPayload, { host, store }: Place): boolean {
  return members.some((each) => each.role === 'witness' && each.host === host && each.store === store)
}

export class StoreVolume {
  readonly id: VolumeId
  readonly create: CreatePayload
  readonly name: string
  sizeBytes: bigint
  mode: Mode
  isDeleted = false
  /** Of the newest record applied. */
  lsn: Lsn
  publicId: VersionId
  view: ViewPayload
  readonly epochs: { readonly epoch: Epoch; readonly firstLsn: Lsn }[]
  /** Contents of the head. */
  map: MapTree
  readonly snapshots = new Map<string, StoredVersion>()
  /** Snapshots, named or not, and heads as branches left them, by lsn. */
  readonly versions = new Map<Lsn, StoredVersion>()

  private constructor(
    create: CreatePayload,
    state: Pick<StoreVolume, 'id' | 'name' | 'sizeBytes' | 'mode' | 'lsn' | 'publicId' | 'view' | 'map'>,
    epochs: StoreVolume['epochs'],
  ) {
    this.create = create
    this.id = state.id
    this.name = state.name
    this.sizeBytes = state.sizeBytes
    this.mode = state.mode
    this.lsn = state.lsn
    this.publicId = state.publicId
    this.view = state.view
    this.map = state.map
    this.epochs = epochs
  }

  /** As a checkpoint has it. `head` is none for a deleted volume. */
  static thaw(frozen: CheckpointVolume, head: CheckpointNode | undefined, readPage: PageReader): StoreVolume {
    const map = head === undefined ? new MapTree(readPage) : mapOf(head, readPage)
    const volume = new StoreVolume(
      decodeCreate(frozen.create),
      {
        id: frozen.id,
        name: frozen.name,
        sizeBytes: frozen.sizeBytes,
        mode: frozen.mode,
        lsn: frozen.appliedLsn,
        publicId: frozen.appliedPublic,
        view: decodeView(frozen.view),
        map,
      },
      [...frozen.epochs],
    )
    volume.isDeleted = (frozen.flags & 1) !== 0
    return volume
  }

  /** As its first record makes it. `map` is the contents of the version it branches from. */
  static begin(
    id: VolumeId,
    record: ControlRecord,
    epoch: Epoch,
    publicId: VersionId,
    map: MapTree,
  ): StoreVolume {
    const create = decodeCreate(record.payload)
    const lsn = ((create.parent?.lsn ?? 0) + 1) as Lsn
    map.grow(Number(create.sizeBytes / BigInt(BLOCK_BYTES)))
    const { name, sizeBytes, mode, view } = create
    return new StoreVolume(create, { id, name, sizeBytes, mode, lsn, publicId, view, map }, [
      { epoch, firstLsn: lsn },
    ])
  }

  /** That store keeps the volume's records without their blocks. */
  isWitness(own: Place): boolean {
    return isWitnessOf(this.create.view, own)
  }

  /** The head as a version that stays. */
  keepVersion(): StoredVersion {
    const version = {
      lsn: this.lsn,
      publicId: this.publicId,
      sizeBytes: this.sizeBytes,
      map: this.map.fork(),
    }
    this.versions.set(this.lsn, version)
    return version
  }

  /**
   * Applies the next record.
   *
   * @param stored - entries of the record's data blocks, in order; undefined: of a witness, whose map stays empty
   */
  async apply(
    record: LogRecord,
    epoch: Epoch,
    lsn: Lsn,
    publicId: VersionId,
    stored: readonly Entry[] | undefined,
  ): Promise<void> {
    this.lsn = lsn
    this.publicId = publicId
    switch (record.kind) {
      case 'write': {
        if (stored === undefined) break
        let index = 0
        for (const { kind, block, count } of record.extents) {
          if (kind !== 'data') await this.map.zero(block, count, lsn)
          else for (let i = 0; i < count; i++) await this.map.write(block + i, stored[index++] as Entry)
        }
        break
      }
      case 'view':
        this.view = decodeView(record.payload)
        this.epochs.push({ epoch, firstLsn: lsn })
        break
      case 'snapshot':
        this.snapshots.set(decodeSnapshotName(record.payload), this.keepVersion())
        break
      case 'snapshot-delete':
        this.snapshots.delete(decodeSnapshotName(record.payload))
        break
      case 'resize':
        await this.#resize(decodeResize(record.payload))
        break
      case 'mode':
        this.mode = decodeMode(record.payload)
        break
      case 'delete':
        this.isDeleted = true
        this.snapshots.clear()
        break
      case 'create':
      case 'attach':
        break
    }
  }

  async #resize(sizeBytes: bigint): Promise<void> {
    const blocks = Number(sizeBytes / BigInt(BLOCK_BYTES))
    this.map.grow(blocks)
    if (sizeBytes < this.sizeBytes) await this.map.zero(blocks, this.map.capacity - blocks, this.lsn)
    this.sizeBytes = sizeBytes
  }
}

/** The tree of a version as the checkpoint has it. */
export function mapOf(node: CheckpointNode, readPage: PageReader): MapTree {
  return new MapTree(readPage, node.root, Math.max(node.height, 1))
}
