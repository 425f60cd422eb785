import { defineConfig } from 'vitest/config'

/** Workspace imports resolve to TypeScript source here, to `dist/` at run time (see CONTRIBUTING.md). */
const conditions = ['@cloudfs/source', 'node', 'import', 'module', 'default']

/** For what hangs. How long a test takes depends on what else the machine does, and says nothing. */
const patienceMs = process.env['CLOUDFS_TEST_LONG'] === '1' ? 3_600_000 : 60_000

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    testTimeout: patienceMs,
    // Most of the time tests wait for processes, so two cores are not too few for two files.
    maxWorkers: 2,
    hookTimeout: 60_000,
    include: [
      'native/lib/**/*.test.ts',
      'packages/*/src/**/*.test.ts',
      'test/**/*.test.ts',
      'bench/**/*.test.ts',
    ],
    setupFiles: ['test/support/checked-answers.mjs'],
    exclude: ['**/dist/**', '**/node_modules/**'],
  },
})
