/** That this host is to keep nothing any more: a file, so that the host says so again when it starts again. */
import { existsSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'

const NAME = 'draining'

export class DrainingMark {
  readonly #directory: string
  #isSet: boolean

  constructor(directory: string) {
    this.#directory = directory
    this.#isSet = existsSync(join(directory, NAME))
  }

  get isSet(): boolean {
    return this.#isSet
  }

  /** Resolves when it is on disk. */
  async set(isWanted: boolean): Promise<void> {
    if (isWanted === this.#isSet) return
    const path = join(this.#directory, NAME)
    if (isWanted) await (await open(path, 'w', 0o600)).close()
    else await rm(path, { force: true })
    const directory = await open(this.#directory, 'r')
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
    this.#isSet = isWanted
  }
}
