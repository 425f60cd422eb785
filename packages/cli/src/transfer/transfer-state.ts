/** What an interrupted transfer leaves for the run that goes on with it: a small JSON file, replaced whole. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { z } from 'zod'

const ImportState = z.object({
  /** The image as it was: another one under the same name is not gone on with. */
  file: z.string(),
  bytes: z.number(),
  modifiedMs: z.number(),
  volume: z.string(),
  isOwnAttachment: z.boolean(),
  doneBytes: z.number(),
})
export type ImportState = z.output<typeof ImportState>

const ExportState = z.object({
  volume: z.string(),
  /** Keeps what is exported as it was when the export began. */
  snapshot: z.string(),
  isOwnSnapshot: z.boolean(),
  isOwnAttachment: z.boolean(),
  format: z.string(),
  doneBytes: z.number(),
})
export type ExportState = z.output<typeof ExportState>

class StateFile<State> {
  readonly #path: string
  readonly #schema: z.ZodType<State>

  constructor(path: string, schema: z.ZodType<State>) {
    this.#path = path
    this.#schema = schema
  }

  /** `undefined`: there is none, or what is there is none. */
  tryRead(): State | undefined {
    try {
      return this.#schema.parse(JSON.parse(readFileSync(this.#path, 'utf8')))
    } catch {
      return undefined
    }
  }

  write(state: State): void {
    mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 })
    writeFileSync(`${this.#path}.new`, `${JSON.stringify(state)}\n`, { mode: 0o600, flush: true })
    renameSync(`${this.#path}.new`, this.#path)
  }

  remove(): void {
    rmSync(this.#path, { force: true })
  }
}

export function importStateAt(path: string): StateFile<ImportState> {
  return new StateFile(path, ImportState)
}

export function exportStateAt(path: string): StateFile<ExportState> {
  return new StateFile(path, ExportState)
}
