/**
 * The typed face of the native data path: loads the addon built from `src/`.
 *
 * The addon is looked for where `make addon` puts it, then where a published package carries it.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'

/** What `src/addon.cc` exports. */
interface Addon {
  crc32c(bytes: Buffer): number
}

const require = createRequire(import.meta.url)
const packageRoot = new URL('../', import.meta.url)
const candidates = [
  'build/release/cloudfs.node',
  `prebuilds/${process.platform}-${process.arch}/cloudfs.node`,
]

function loadAddon(): Addon {
  for (const candidate of candidates) {
    const path = new URL(candidate, packageRoot).pathname
    if (existsSync(path)) return require(path) as Addon
  }
  throw new Error(`the native addon is not built (${candidates.join(', ')}): run "npm run build"`)
}

const addon = loadAddon()

/** CRC-32C of `bytes`, as blocks and record headers carry it. */
export function crc32c(bytes: Buffer): number {
  return addon.crc32c(bytes)
}
