/**
 * Volumes attached at this host for its VMs: served by this engine where it is the primary's, by a bridge to the primary's
 * engine elsewhere. This host remembers what it has attached, and has it served again, at the same socket, by whoever leads:
 * after each start, and when the primary changes (restoring.ts). Who else may have it is the primary's business
 * (holder-table.ts).
 */
import { rm } from 'node:fs/promises'
import { compareEpochs, type Epoch, type HostId, type VersionId, type VolumeId } from '@cloudfs/interface'
import type { Answer } from '@cloudfs/http'
import { AttachmentsFile, type RememberedAttachment } from './attachments-file.js'
import type { EngineSupervisor } from './engine-supervisor.js'
import type { Bridge } from './peer-requests.js'
import { RunFiles } from './run-files.js'

type Attachment = Answer<'attach'>
type Way = 'serve' | 'bridge'

/** What is to be served, and how. */
export interface Serving {
  readonly volume: VolumeId
  readonly version: VersionId
  readonly isShared: boolean
  /** The primary, and the epoch in which it leads. */
  readonly leader: HostId
  readonly epoch: Epoch
  /** Left out: this host is the primary. */
  readonly bridge?: Bridge | undefined
}

interface Attached extends RememberedAttachment {
  /** By way of whom it is served; `undefined`: it is not, or may be no more. */
  readonly leader: HostId | undefined
  /** Who says that it leads, of one that is not served. */
  readonly hint: HostId | undefined
}

export interface AttachmentsOptions {
  readonly engine: EngineSupervisor
  readonly host: HostId
  readonly runDirectory: string
  /** The file that remembers. */
  readonly path: string
}

export class Attachments {
  readonly #engine: EngineSupervisor
  readonly #host: HostId
  readonly #files: RunFiles
  readonly #file: AttachmentsFile
  readonly #attached = new Map<VolumeId, Attached>()
  /** How a volume is served, by the engine that is there and as far as this process knows. */
  readonly #ways = new Map<VolumeId, Way>()

  constructor({ engine, host, runDirectory, path }: AttachmentsOptions) {
    this.#engine = engine
    this.#host = host
    this.#files = new RunFiles(runDirectory)
    this.#file = new AttachmentsFile(path)
  }

  /** Learns what was attached when this node ended. Once, first. */
  async load(): Promise<void> {
    for (const each of await this.#file.read()) {
      this.#attached.set(each.volume, { ...each, leader: undefined, hint: undefined })
    }
  }

  all(): Attachment[] {
    return [...this.#attached.values()].map((attached) => this.#describe(attached))
  }

  get(volume: VolumeId): RememberedAttachment | undefined {
    return this.#attached.get(volume)
  }

  /** The primary by way of which the volume is served here. */
  leaderOf(volume: VolumeId): HostId | undefined {
    return this.#attached.get(volume)?.leader
  }

  socketOf(volume: VolumeId): string {
    return this.#files.socketOf(volume)
  }

  /** Volumes that are to be served anew, and who may lead them. */
  get doubtful(): readonly { readonly volume: VolumeId; readonly hint: HostId | undefined }[] {
    return [...this.#attached.values()]
      .filter(({ leader }) => leader === undefined)
      .map(({ volume, hint }) => ({ volume, hint }))
  }

  /** The volume may be led by another host by now. */
  doubt(volume: VolumeId, hint?: HostId): void {
    const attached = this.#attached.get(volume)
    if (attached !== undefined) this.#attached.set(volume, { ...attached, leader: undefined, hint })
  }

  /** Another engine is there, which serves nothing yet. */
  doubtAll(): void {
    this.#ways.clear()
    for (const volume of this.#attached.keys()) this.doubt(volume)
  }

  /** Primaries elsewhere may have been found, or have moved. */
  doubtBridged(): void {
    for (const { volume, leader } of this.#attached.values()) if (leader !== this.#host) this.doubt(volume)
  }

  /** The head of a volume, as its primary has it. */
  async moved(volume: VolumeId, version: VersionId): Promise<void> {
    if (this.#attached.has(volume)) await this.#files.update(volume, version)
  }

  /** Serves a volume, at the socket where it always is. Doing so again takes a new way to the primary. */
  async serve({ volume, version, isShared, leader, epoch, bridge }: Serving): Promise<Attachment> {
    const socket = this.socketOf(volume)
    const way = bridge === undefined ? 'serve' : 'bridge'
    if (this.#ways.get(volume) !== way) await this.#end(volume, way === 'serve' ? 'bridge' : 'serve')
    if (bridge === undefined) await this.#engine.call('serve', { volume, socket, mode: 0o660 })
    else await this.#engine.call('bridge', { volume, socket, mode: 0o660, leader, ...bridge })
    this.#ways.set(volume, way)
    await this.#files.add(volume, version)
    const attached = { volume, isShared, epoch, leader, hint: undefined }
    const before = this.#attached.get(volume)
    this.#attached.set(volume, attached)
    const isKnown = before?.isShared === isShared && compareEpochs(before.epoch, epoch) === 0
    if (!isKnown) await this.#save()
    return this.#describe(attached)
  }

  /** Lets the clients of a volume go, and forgets it. */
  async unserve(volume: VolumeId): Promise<void> {
    if (!this.#attached.has(volume)) return
    await this.#end(volume, 'serve')
    await this.#end(volume, 'bridge')
    this.#attached.delete(volume)
    await this.#save()
    await this.#files.remove(volume)
    await rm(this.socketOf(volume), { force: true })
  }

  async #end(volume: VolumeId, way: Way): Promise<void> {
    const socket = this.socketOf(volume)
    await this.#engine.call(way === 'serve' ? 'unserve' : 'unbridge', { socket })
    if (this.#ways.get(volume) === way) this.#ways.delete(volume)
  }

  #save(): Promise<void> {
    const remembered = [...this.#attached.values()]
    return this.#file.write(remembered.map(({ volume, isShared, epoch }) => ({ volume, isShared, epoch })))
  }

  #describe({ volume, isShared }: Attached): Attachment {
    const socket = this.socketOf(volume)
    return { volume, host: this.#host, socket, uri: uriOf(socket), isShared }
  }
}

/** As `nbd(7)`'s URI specification has it; the socket serves this one volume, as its default export. */
function uriOf(socket: string): string {
  return `nbd+unix:///?socket=${encodeURIComponent(socket).replaceAll('%2F', '/')}`
}
