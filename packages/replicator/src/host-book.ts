/**
 * The hosts this node has met, a file each, so that saving one costs what one costs and a torn write loses no other. They
 * can be had again from any of the others, but for the binding of id and key.
 */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { HostId } from '@cloudfs/interface'
import type { HostBook, KnownHost } from '@cloudfs/peers'
import type { Logger } from 'pino'
import { z } from 'zod'

const knownHost = z.strictObject({
  hostId: z.string().refine((text) => HostId.is(text)),
  publicKey: z.string(),
  announcement: z.strictObject({ text: z.string(), signature: z.string() }),
})

export class DirectoryHostBook implements HostBook {
  readonly #directory: string
  readonly #log: Logger

  constructor(directory: string, log: Logger) {
    this.#directory = directory
    this.#log = log
  }

  async load(): Promise<readonly KnownHost[]> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 })
    const hosts: KnownHost[] = []
    for (const name of await readdir(this.#directory)) {
      if (!name.endsWith('.json')) continue
      try {
        const text = await readFile(join(this.#directory, name), 'utf8')
        hosts.push(knownHost.parse(JSON.parse(text)))
      } catch (error) {
        this.#log.error(
          { err: error, name },
          'a known host cannot be read; its key will be trusted as if new',
        )
      }
    }
    return hosts
  }

  async save(host: KnownHost): Promise<void> {
    const path = this.#pathOf(host.hostId)
    const file = await open(`${path}.new`, 'w', 0o600)
    try {
      await file.writeFile(JSON.stringify(host))
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(`${path}.new`, path)
  }

  /** As an operator decided. */
  async forget(host: HostId): Promise<void> {
    await rm(this.#pathOf(host), { force: true })
  }

  #pathOf(host: HostId): string {
    return join(this.#directory, `${host}.json`)
  }
}
