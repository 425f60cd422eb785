/**
 * The layer rule of the C++ sources: core <- nbd <- bridge <- shell <- addon, and within the core base <- format <- log <- index <-
 * volume <- replication <- store (ARCHITECTURE.md, "Layers").
 *
 * A quoted include names a file beside it or one under native/src, and has to exist: nothing passes by not resolving. Node-API
 * headers are the addon's alone. test/quality/includes.test.ts plants violations and sees each one caught.
 *
 *   node scripts/check-includes.mjs [ROOT]    ROOT holds native/
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The core's layers, from the ground up: each includes itself and what stands before it. */
const core = ['base', 'format', 'log', 'index', 'volume', 'replication', 'store'].map(
  (name) => `src/core/${name}`,
)

/** Per directory under native/, those it may include. */
const layers = {
  ...Object.fromEntries(core.map((layer, index) => [layer, core.slice(0, index + 1)])),
  'src/nbd': [...core, 'src/nbd'],
  'src/bridge': [...core, 'src/nbd', 'src/bridge'],
  'src/shell': [...core, 'src/nbd', 'src/bridge', 'src/shell'],
  'src/addon': [...core, 'src/nbd', 'src/bridge', 'src/shell', 'src/addon'],
  test: [...core, 'src/nbd', 'src/bridge', 'src/shell', 'test'],
  fuzz: [...core, 'src/nbd', 'src/bridge', 'test', 'fuzz'], // a model that tests use serves a fuzzer too
}

const root = process.argv[2] ?? fileURLToPath(new URL('..', import.meta.url))
const native = join(root, 'native')
const problems = []
let includeCount = 0

function filesUnder(directory) {
  if (!existsSync(directory)) return []
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(cc|h)$/.test(entry.name))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
}

function layerOf(file) {
  const path = relative(native, file)
  if (path === join('src', 'addon.cc')) return 'src/addon'
  return Object.keys(layers).find((layer) => path.startsWith(`${layer}/`))
}

for (const directory of ['src', 'test', 'fuzz']) {
  for (const file of filesUnder(join(native, directory))) {
    const layer = layerOf(file)
    const lines = readFileSync(file, 'utf8').split('\n')
    for (const [index, line] of lines.entries()) {
      const [, open, target] = /^\s*#\s*include\s*([<"])([^>"]+)[>"]/.exec(line) ?? []
      if (target === undefined) continue
      includeCount += 1
      const where = `${relative(root, file)}:${index + 1}`
      if (layer === undefined) {
        problems.push(`${where}: the file lies in no layer`)
      } else if (open === '<') {
        const isNode = /^(napi|node_api|js_native_api|node|v8|uv)(-inl|_types)?\.h$/.test(target)
        if (isNode && layer !== 'src/addon') problems.push(`${where}: <${target}> is the addon's alone`)
      } else {
        const found = [join(file, '..', target), join(native, 'src', target)].find((path) => existsSync(path))
        const targetLayer = found && layerOf(found)
        if (found === undefined)
          problems.push(`${where}: "${target}" is neither beside the file nor under native/src`)
        else if (!layers[layer].includes(targetLayer))
          problems.push(`${where}: ${layer} does not include "${target}"`)
      }
    }
  }
}

if (includeCount === 0) problems.push(`no include was found under ${native}: nothing was checked`)
for (const problem of problems) console.error(problem)
if (problems.length === 0) console.log(`check-includes: ${includeCount} includes point the right way`)
process.exitCode = problems.length === 0 ? 0 : 1
