/** The layer rule of the C++ sources, tried on planted includes. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'

const script = fileURLToPath(new URL('../../scripts/check-includes.mjs', import.meta.url))
let root: string

function plant(path: string, code: string) {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), code)
}

function check() {
  const { status, stderr } = spawnSync(process.execPath, [script, root], { encoding: 'utf8' })
  return { status, stderr }
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'cloudfs-includes-'))
  for (const layer of ['core/base', 'core/log', 'nbd', 'shell', 'addon'])
    plant(`native/src/${layer}/a.h`, '#include <vector>\n')
})

afterEach(() => {
  rmSync(root, { recursive: true, force: true })
})

test('includes that point down, beside, or to the system pass', () => {
  plant('native/src/core/log/b.cc', '#include "core/base/a.h"\n#include "a.h"\n#include <vector>\n')
  plant('native/src/nbd/b.cc', '#include "core/log/a.h"\n')
  plant('native/src/shell/b.cc', '#include "nbd/a.h"\n')
  plant('native/src/addon.cc', '#include <napi.h>\n#include "shell/a.h"\n')
  plant('native/test/b.test.cc', '#include "shell/a.h"\n')
  expect(check()).toEqual({ status: 0, stderr: '' })
})

test.each([
  ['src/core/log/b.cc', '"nbd/a.h"'],
  ['src/core/log/b.cc', '"../../shell/a.h"'],
  ['src/core/log/b.h', '"addon/a.h"'],
  ['src/core/base/b.h', '"core/log/a.h"'],
  ['src/core/b.h', '"core/base/a.h"'],
  ['src/nbd/b.cc', '"shell/a.h"'],
  ['src/nbd/b.cc', '<napi.h>'],
  ['src/shell/b.cc', '"addon/a.h"'],
  ['src/shell/b.cc', '<node_api.h>'],
  ['test/b.test.cc', '"addon/a.h"'],
  ['fuzz/b.cc', '"shell/a.h"'],
  ['src/core/log/b.cc', '"core/base/no-such-file.h"'],
  ['src/elsewhere/b.cc', '<vector>'],
])('%s including %s is refused', (file, include) => {
  plant(`native/${file}`, `// a comment first\n#include ${include}\n`)
  const { status, stderr } = check()
  expect(stderr).toContain(`native/${file}:2:`)
  expect(status).toBe(1)
})

test('a tree without any include is refused rather than passed', () => {
  rmSync(join(root, 'native/src'), { recursive: true })
  expect(check().status).toBe(1)
})
