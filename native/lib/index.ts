/** The typed face of the native data path. */
import { addon } from './addon.js'

export * from './sim-core.js'
export * from './sim-endpoint.js'
export * from './store-handle.js'

/** CRC-32C of `bytes`, as blocks and record headers carry it. */
export function crc32c(bytes: Uint8Array): number {
  return addon.crc32c(bytes)
}

/**
 * Locks a file, made if it is missing, against every other process, for as long as the descriptor is open.
 *
 * @returns the descriptor
 * @throws ERR_LOCKED another process has it; ERR_LOCK it cannot be opened
 */
export function lockFile(path: string): number {
  return addon.lockFile(path)
}

/** A structure of docs/disk-format.md that `describe` knows. */
export type FormatKind =
  | 'entry'
  | 'superblock'
  | 'segment-header'
  | 'batch'
  | 'run'
  | 'create'
  | 'view'
  | 'snapshot'
  | 'resize'
  | 'mode'
  | 'checkpoint'

/**
 * What the engine's decoder makes of `bytes`.
 *
 * @returns canonical JSON (`native/src/core/format/describe.h` fixes its form), or the code of the error alone: `ERR_…`
 */
export function describe(kind: FormatKind, bytes: Uint8Array): string {
  return addon.describe(kind, bytes)
}
