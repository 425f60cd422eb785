/** What is attached at a host, as a node that starts finds it: `attachments.json` in its directory. */
import { open, readFile, rename } from 'node:fs/promises'
import { EPOCH_COUNTER_MAX, type Epoch, HostId, VolumeId } from '@cloudfs/interface'
import { z } from 'zod'

export interface RememberedAttachment {
  readonly volume: VolumeId
  readonly isShared: boolean
  /** Of the primary that gave the volume to this host last. */
  readonly epoch: Epoch
}

const schema = z.strictObject({
  version: z.literal(1),
  attachments: z.array(
    z.strictObject({
      volume: z.string().transform((text) => VolumeId.parse(text)),
      isShared: z.boolean(),
      epoch: z.strictObject({
        counter: z.int().min(0).max(EPOCH_COUNTER_MAX),
        host: z.string().transform((text) => HostId.parse(text)),
      }),
    }),
  ),
})

export class AttachmentsFile {
  readonly #path: string
  /** Writes come one after another. */
  #writing: Promise<void> = Promise.resolve()

  constructor(path: string) {
    this.#path = path
  }

  /** @throws what reading or parsing it met; a file that is not there holds nothing */
  async read(): Promise<readonly RememberedAttachment[]> {
    let text: string
    try {
      text = await readFile(this.#path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
    return schema.parse(JSON.parse(text)).attachments
  }

  /** Replaces the file as a whole; it is synced when this resolves. */
  async write(attachments: readonly RememberedAttachment[]): Promise<void> {
    const text = `${JSON.stringify({ version: 1, attachments }, null, 1)}\n`
    const written = this.#writing.then(() => this.#replace(text))
    this.#writing = written.catch(() => undefined)
    await written
  }

  async #replace(text: string): Promise<void> {
    const draft = `${this.#path}.new`
    const file = await open(draft, 'w', 0o640)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(draft, this.#path)
  }
}
