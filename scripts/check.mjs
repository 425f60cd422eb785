/**
 * `npm run check`: every static check, two at a time, each with its time; the output of those that fail.
 *
 *   npm run check                 all of them
 *   npm run check -- lint spell   some of them
 */
import { spawn, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const CONCURRENCY = 2

const root = fileURLToPath(new URL('..', import.meta.url))
const layers =
  'depcruise --config .dependency-cruiser.mjs --output-type err-long native/lib packages test bench'
const native = "find native test/model -name build -prune -o '(' -name '*.cc' -o -name '*.h' ')' -print0"

/** The longest first, so that the two lanes end together. */
const checks = {
  lint: 'eslint --max-warnings 0 .',
  types: 'tsc -b',
  spell: 'cspell lint --no-progress --no-summary',
  format: 'prettier --check --log-level warn .',
  layers: `${layers}`,
  unused: 'knip --no-progress --no-config-hints',
  'format-native': `${native} | xargs -0 clang-format-16 --dry-run -Werror`,
  lock: 'npm ci --dry-run --no-audit --no-fund --loglevel=error',
  'layers-native': 'node scripts/check-includes.mjs',
}

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(checks)
const unknown = names.filter((name) => !(name in checks))
if (unknown.length > 0) {
  console.error(`check: no such check: ${unknown.join(', ')}; there are ${Object.keys(checks).join(', ')}`)
  process.exit(2)
}

// Else every import of what is missing fails in its own way.
if (spawnSync(process.execPath, [`${root}scripts/modules-are-current.mjs`]).status !== 0) {
  console.error('check: node_modules is not what package-lock.json names: run "npm ci"')
  process.exit(2)
}

/** Runs one check to its end; resolves to whether it passed. */
function run(name) {
  const started = performance.now()
  const child = spawn('bash', ['-o', 'pipefail', '-c', checks[name]], {
    cwd: root,
    env: { ...process.env, PATH: `${root}node_modules/.bin:${process.env.PATH}` },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (text) => (output += text))
  child.stderr.on('data', (text) => (output += text))
  return new Promise((resolve) => {
    child.on('close', (code) => {
      const seconds = ((performance.now() - started) / 1000).toFixed(1)
      console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${name.padEnd(14)} ${seconds.padStart(5)} s`)
      if (code !== 0) console.log(output.trimEnd())
      resolve(code === 0)
    })
  })
}

let failed = 0
const queue = [...names]
async function lane() {
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) if (!(await run(name))) failed += 1
}
await Promise.all(Array.from({ length: CONCURRENCY }, lane))
console.log(failed === 0 ? `check: all ${names.length} passed` : `check: ${failed} of ${names.length} failed`)
process.exitCode = failed === 0 ? 0 : 1
