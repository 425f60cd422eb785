/** Debian packages that a benchmark needs: installed when it is asked for by name, and by nothing else. */
import { existsSync } from 'node:fs'
import { runTool } from './tool.js'

/**
 * Installs what is missing. Needs root.
 *
 * @param programs - files that are there once the packages are
 * @throws an Error with what apt said
 */
export async function ensureInstalled(
  packages: readonly string[],
  programs: readonly string[],
  say: (line: string) => void,
): Promise<void> {
  if (programs.every((path) => existsSync(path))) return
  say(`installing ${packages.join(', ')}`)
  const words = ['install', '--yes', '--no-install-recommends', ...packages]
  await runTool('env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...words)
  const missing = programs.filter((path) => !existsSync(path))
  if (missing.length > 0) throw new Error(`the packages are installed without ${missing.join(', ')}`)
}
