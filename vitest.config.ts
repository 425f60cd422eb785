import { defineConfig } from 'vitest/config'

/** Workspace imports resolve to TypeScript source here, to `dist/` at run time (see CONTRIBUTING.md). */
const conditions = ['@cloudfs/source', 'node', 'import', 'module', 'default']

/** For what hangs. How long a test takes depends on what else the machine does, and says nothing. */
const patienceMs = process.env['CLOUDFS_TEST_LONG'] === '1' ? 3_600_000 : 60_000

const exclude = ['**/dist/**', '**/node_modules/**']
const setupFiles = ['test/support/checked-answers.mjs']
const common = { testTimeout: patienceMs, hookTimeout: 60_000, exclude, setupFiles }

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    // Most of the time tests wait for processes, so two cores are not too few for two files.
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        // Nothing in them outlives a file, so they share what they import.
        test: {
          ...common,
          name: 'units',
          isolate: false,
          include: ['native/lib/**/*.test.ts', 'packages/*/src/**/*.test.ts', 'bench/**/*.test.ts'],
        },
      },
      {
        extends: true,
        test: { ...common, name: 'system', include: ['test/**/*.test.ts'] },
      },
    ],
  },
})
