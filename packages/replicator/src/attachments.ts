/**
 * Volumes served at this host for its VMs. An attachment is a local item in the store beside its volume, so that it
 * outlives both processes; whoever starts next serves it again at the same socket.
 */
import { rm } from 'node:fs/promises'
import { bytesToHex, type HostId, hexToBytes, type VersionId, type VolumeId } from '@cloudfs/interface'
import type { Answer } from '@cloudfs/http'
import { LOCAL_KINDS } from '@cloudfs/format'
import type { Logger } from 'pino'
import { z } from 'zod'
import type { EngineSupervisor } from './engine-supervisor.js'
import { NotAttachedError, VolumeAttachedError } from './errors.js'
import type { HeldVolume } from './peer-requests.js'
import { RunFiles } from './run-files.js'

const ATTACHMENT_KIND = LOCAL_KINDS.indexOf('attachment')

/** As it stands in the store; no bytes: not attached. */
const remembered = z.object({ isShared: z.boolean() })

type Attachment = Answer<'attach'>
type Held = Pick<HeldVolume, 'volume' | 'version'>

export class Attachments {
  readonly #engine: EngineSupervisor
  readonly #host: HostId
  readonly #files: RunFiles
  readonly #log: Logger
  readonly #attached = new Map<VolumeId, Attachment>()

  constructor(engine: EngineSupervisor, host: HostId, runDirectory: string, log: Logger) {
    this.#engine = engine
    this.#host = host
    this.#files = new RunFiles(runDirectory)
    this.#log = log
  }

  all(): Attachment[] {
    return [...this.#attached.values()]
  }

  get(volume: VolumeId): Attachment | undefined {
    return this.#attached.get(volume)
  }

  /** The volume's head has moved. */
  async moved(volume: VolumeId, version: VersionId): Promise<void> {
    if (this.#attached.has(volume)) await this.#files.update(volume, version)
  }

  /**
   * Serves a volume. Attached here already, it stays as it is: attaching twice is what a management tool does after a
   * crash of its own.
   *
   * @throws {VolumeAttachedError} attached here, and one of the two is not shared
   */
  async attach(held: Held, isShared: boolean): Promise<Attachment> {
    const volume = held.volume as VolumeId
    const present = this.#attached.get(volume)
    if (present !== undefined) {
      if (present.isShared === isShared) return present
      throw new VolumeAttachedError(`the volume is attached at host ${this.#host}, ${modeOf(present)}`, {
        volume,
        holder: this.#host,
      })
    }
    // Remembered first: what is served and forgotten would be gone after a restart, under a running VM.
    await this.#remember(volume, { isShared })
    return this.#serve(held, isShared)
  }

  /** Ends an attachment. @throws {NotAttachedError} */
  async detach(volume: VolumeId): Promise<void> {
    const attachment = this.#attached.get(volume)
    if (attachment === undefined) {
      throw new NotAttachedError(`volume ${volume} is not attached at this host`, { volume })
    }
    await this.#engine.call('unserve', { socket: attachment.socket })
    await this.#remember(volume, undefined)
    this.#attached.delete(volume)
    await this.#files.remove(volume)
    await rm(attachment.socket, { force: true })
  }

  /** Serves again what was attached when the engine, or this process, went away. */
  async restore(volumes: readonly Held[]): Promise<void> {
    for (const held of volumes) {
      const volume = held.volume as VolumeId
      try {
        const { bytes } = await this.#engine.result('get-local', { volume, kind: ATTACHMENT_KIND })
        if (bytes === null || bytes === '') continue
        const { isShared } = remembered.parse(JSON.parse(Buffer.from(hexToBytes(bytes)).toString('utf8')))
        await this.#serve(held, isShared)
      } catch (error) {
        this.#log.error({ err: error, volume }, 'an attached volume cannot be served again')
      }
    }
  }

  async #serve(held: Held, isShared: boolean): Promise<Attachment> {
    const volume = held.volume as VolumeId
    const socket = this.#files.socketOf(volume)
    await this.#engine.call('serve', { volume, socket, mode: 0o660 })
    await this.#files.add(volume, held.version as VersionId)
    const attachment = { volume, host: this.#host, socket, uri: uriOf(socket), isShared }
    this.#attached.set(volume, attachment)
    return attachment
  }

  async #remember(volume: VolumeId, attachment: z.output<typeof remembered> | undefined): Promise<void> {
    const bytes = attachment === undefined ? '' : bytesToHex(Buffer.from(JSON.stringify(attachment)))
    await this.#engine.call('put-local', { volume, kind: ATTACHMENT_KIND, bytes })
  }
}

/** As `nbd(7)`'s URI specification has it; the socket serves this one volume, as its default export. */
function uriOf(socket: string): string {
  return `nbd+unix:///?socket=${encodeURIComponent(socket).replaceAll('%2F', '/')}`
}

function modeOf({ isShared }: Attachment): string {
  return isShared ? 'shared' : 'not shared'
}
