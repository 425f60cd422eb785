import { expect, test } from 'vitest'

test('a workspace import resolves to TypeScript source under test', () => {
  expect(import.meta.resolve('@cloudfs/interface')).toMatch(/packages\/interface\/(src\/index\.ts|dist\/index\.js)$/)
})
