/**
 * Exits with 0 if node_modules holds what package-lock.json names, else with 1. Uses nothing from node_modules.
 *
 * npm keeps node_modules/.package-lock.json: what it put there. Optional packages are left out on both sides, as those
 * of other platforms are never installed.
 */
import { existsSync, readFileSync } from 'node:fs'

const read = (path) => JSON.parse(readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')).packages

const installed = 'node_modules/.package-lock.json'
if (!existsSync(new URL(`../${installed}`, import.meta.url))) process.exit(1)

const got = read(installed)
const current = Object.entries(read('package-lock.json')).every(
  ([path, want]) =>
    path === '' || want.optional || (got[path]?.version === want.version && got[path]?.link === want.link),
)
process.exit(current ? 0 : 1)
