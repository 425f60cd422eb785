/**
 * Volumes served at this host for its VMs: by this engine where it is the primary's, by a bridge to the primary's engine
 * elsewhere. Who has a volume attached is kept by the volume's primary (holder-table.ts), so that it outlives all
 * processes; whoever starts next serves it again at the same socket.
 */
import { rm } from 'node:fs/promises'
import type { HostId, VersionId, VolumeId } from '@cloudfs/interface'
import type { Answer } from '@cloudfs/http'
import type { EngineSupervisor } from './engine-supervisor.js'
import type { Bridge } from './peer-requests.js'
import { RunFiles } from './run-files.js'

type Attachment = Answer<'attach'>

/** What is to be served, and how. */
export interface Serving {
  readonly volume: VolumeId
  readonly version: VersionId
  readonly isShared: boolean
  /** Left out: this host is the primary. */
  readonly bridge?: (Bridge & { readonly leader: HostId }) | undefined
}

interface Attached {
  readonly attachment: Attachment
  readonly leader: HostId | undefined
}

export class Attachments {
  readonly #engine: EngineSupervisor
  readonly #host: HostId
  readonly #files: RunFiles
  readonly #attached = new Map<VolumeId, Attached>()

  constructor(engine: EngineSupervisor, host: HostId, runDirectory: string) {
    this.#engine = engine
    this.#host = host
    this.#files = new RunFiles(runDirectory)
  }

  all(): Attachment[] {
    return [...this.#attached.values()].map(({ attachment }) => attachment)
  }

  get(volume: VolumeId): Attachment | undefined {
    return this.#attached.get(volume)?.attachment
  }

  /** The primary that serves the volume by way of a bridge here. */
  leaderOf(volume: VolumeId): HostId | undefined {
    return this.#attached.get(volume)?.leader
  }

  socketOf(volume: VolumeId): string {
    return this.#files.socketOf(volume)
  }

  /** The head of a volume, as its primary has it. */
  async moved(volume: VolumeId, version: VersionId): Promise<void> {
    if (this.#attached.has(volume)) await this.#files.update(volume, version)
  }

  /** Serves a volume, at the socket where it always is. Doing so again takes a new way to the primary. */
  async serve({ volume, version, isShared, bridge }: Serving): Promise<Attachment> {
    const socket = this.socketOf(volume)
    if (bridge === undefined) await this.#engine.call('serve', { volume, socket, mode: 0o660 })
    else await this.#engine.call('bridge', { volume, socket, mode: 0o660, ...bridge })
    await this.#files.add(volume, version)
    const attachment = { volume, host: this.#host, socket, uri: uriOf(socket), isShared }
    this.#attached.set(volume, { attachment, leader: bridge?.leader })
    return attachment
  }

  /** Lets the clients of a volume go. */
  async unserve(volume: VolumeId): Promise<void> {
    const present = this.#attached.get(volume)
    if (present === undefined) return
    const { socket } = present.attachment
    await this.#engine.call(present.leader === undefined ? 'unserve' : 'unbridge', { socket })
    this.#attached.delete(volume)
    await this.#files.remove(volume)
    await rm(socket, { force: true })
  }
}

/** As `nbd(7)`'s URI specification has it; the socket serves this one volume, as its default export. */
function uriOf(socket: string): string {
  return `nbd+unix:///?socket=${encodeURIComponent(socket).replaceAll('%2F', '/')}`
}
