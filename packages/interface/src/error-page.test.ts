import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import * as errors from './errors.js'

const root = new URL('../../../', import.meta.url).pathname
const page = readFileSync(join(root, 'docs/errors.md'), 'utf8')
const rows = [...page.matchAll(/^\| `(ERR_[A-Z0-9_]+)` \|(.*)\|$/gm)]
const documented = rows.map((row) => row[1])

/** The sources whose codes reach people: both halves, tests and build output left out. */
function sources(): string[] {
  const files = (directory: string): string[] =>
    readdirSync(join(root, directory), { recursive: true, encoding: 'utf8' }).map((name) =>
      join(directory, name),
    )
  return [...files('native/src'), ...files('native/lib'), ...files('packages')].filter(
    (name) => /\.(ts|cc|h)$/.test(name) && !/\.test\.ts$|(^|\/)(node_modules|dist)\//.test(name),
  )
}

test('docs/errors.md has one complete row for each code', () => {
  expect(new Set(documented).size).toBe(documented.length)
  for (const row of rows) {
    expect(
      row[2]?.split('|').map((cell) => cell.trim() !== ''),
      row[1],
    ).toEqual([true, true, true, true])
  }
})

test('every code that a source names is documented', () => {
  const named = new Set<string>()
  // Codes of Node itself look alike; a source that needs one of those names it with a regular expression.
  for (const name of sources()) {
    for (const match of readFileSync(join(root, name), 'utf8').matchAll(/["'](ERR_[A-Z0-9_]+)["']/g)) {
      if (match[1] !== undefined) named.add(match[1])
    }
  }
  expect([...named].filter((code) => !documented.includes(code))).toEqual([])
  expect(named.size).toBeGreaterThan(10)
})

test('each error class has a code of its own', () => {
  const codes = Object.values(errors).flatMap((value) => {
    if (typeof value !== 'function' || !(value.prototype instanceof errors.CloudfsError)) return []
    const error = new (value as unknown as new (message: string) => errors.CloudfsError)('x')
    return typeof error.code === 'string' ? [error.code] : []
  })
  expect(codes.length).toBeGreaterThan(10)
  expect(new Set(codes).size).toBe(codes.length)
})
