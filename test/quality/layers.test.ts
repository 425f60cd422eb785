/**
 * The layer rule of the packages, tried on planted imports.
 *
 * A copy of the workspace's shape (package.json files and links, no code) gets one import from every package to every
 * other; the real configuration has to refuse exactly those that point the wrong way.
 */
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const allowed: Record<string, readonly string[]> = {
  interface: [],
  format: ['interface'],
  native: ['interface', 'format'],
  engine: ['interface', 'format', 'native'],
  protocol: ['interface', 'format'],
  placement: ['interface', 'format'],
  peers: ['interface', 'format', 'protocol', 'placement'],
  http: ['interface', 'format', 'protocol', 'placement'],
  replicator: ['interface', 'format', 'protocol', 'placement', 'peers', 'http'],
  cli: ['interface', 'format', 'protocol', 'placement', 'peers', 'http', 'replicator'],
  simulator: [
    'interface',
    'format',
    'native',
    'engine',
    'protocol',
    'placement',
    'peers',
    'http',
    'replicator',
  ],
}
const names = Object.keys(allowed)
const pathOf = (name: string) => (name === 'native' ? 'native' : `packages/${name}`)
const sourceOf = (name: string) => (name === 'native' ? 'native/lib' : `packages/${name}/src`)

interface Violation {
  from: string
  to: string
  rule: { name: string }
}

let workspace: string

async function plant(path: string, code: string) {
  await mkdir(dirname(join(workspace, path)), { recursive: true })
  await writeFile(join(workspace, path), code)
}

function violations(): Promise<Violation[]> {
  const bin = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs')
  const args = [bin, '--config', '.dependency-cruiser.mjs', '--output-type', 'json', 'native/lib', 'packages']
  return new Promise((resolve, reject) => {
    // The JSON reporter exits with 0 whatever it found.
    execFile(process.execPath, args, { cwd: workspace, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      if (error) reject(new Error(stderr || stdout, { cause: error }))
      else resolve((JSON.parse(stdout) as { summary: { violations: Violation[] } }).summary.violations)
    })
  })
}

beforeAll(async () => {
  workspace = await mkdtemp(join(tmpdir(), 'cloudfs-layers-'))
  for (const file of ['package.json', '.dependency-cruiser.mjs', 'tsconfig.base.json'])
    await cp(join(root, file), join(workspace, file))
  await mkdir(join(workspace, 'node_modules/@cloudfs'), { recursive: true })
  for (const name of names) {
    await plant(`${sourceOf(name)}/index.ts`, 'export {}\n')
    await cp(join(root, pathOf(name), 'package.json'), join(workspace, pathOf(name), 'package.json'))
    await symlink(join(workspace, pathOf(name)), join(workspace, 'node_modules/@cloudfs', name))
  }
})

afterAll(() => rm(workspace, { recursive: true, force: true }))

test('the table here and the packages that exist are the same', async () => {
  const packages = await readdir(join(root, 'packages'))
  expect([...packages, 'native'].sort()).toEqual([...names].sort())
})

test('every import that points the wrong way is refused, and no other', { timeout: 60_000 }, async () => {
  const expected: string[] = []
  for (const from of names) {
    for (const to of names) {
      if (from === to) continue
      await plant(`${sourceOf(from)}/to-${to}.ts`, `import '@cloudfs/${to}'\n`)
      if (!allowed[from]!.includes(to)) expected.push(`layer-${from} ${sourceOf(from)}/to-${to}.ts`)
    }
  }
  await plant('packages/interface/src/files.ts', "import 'node:fs'\n")
  expected.push('pure packages/interface/src/files.ts')
  await plant('packages/protocol/src/hash.ts', "import 'node:crypto'\n")
  await plant(
    'packages/engine/src/lost.ts',
    "import '@cloudfs/no-such-package'\nimport './no-such-file.js'\n",
  )
  expected.push(...Array<string>(2).fill('not-to-unresolvable packages/engine/src/lost.ts'))
  await plant('packages/engine/src/undeclared.ts', "import 'vite'\n")
  await plant('packages/stranger/src/index.ts', "import '@cloudfs/interface'\n")
  expected.push('package-unknown packages/stranger/src/index.ts')

  const found = await violations()
  const planted = found.filter((each) => !each.from.endsWith('undeclared.ts'))
  const described = planted
    .filter((each) => !each.rule.name.startsWith('not-to-und'))
    .map((each) => `${each.rule.name} ${each.from}`)
  expect(described.sort()).toEqual(expected.sort())
  expect(found.some((each) => each.from.endsWith('undeclared.ts'))).toBe(true)
})
