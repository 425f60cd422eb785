/**
 * Who may import whom. Imports point one way only (ARCHITECTURE.md, "Layers").
 *
 * dependency-cruiser reports "no violation" for a name it cannot resolve, so an unresolvable import is itself a
 * violation, and test/quality/layers.test.ts plants every forbidden import and sees each one caught.
 */

/** Per package, the packages it may import. The replicator speaks with the engine by messages, so it does not import it. */
const layers = {
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

/** Packages that decide and do not act: no files, sockets, clocks or timers (their globals are eslint's part). */
const pure = ['interface', 'format', 'protocol', 'placement']

/** Never published: tests, and what the tests of several packages share (`@cloudfs/NAME/testing`). */
const notShipped = '[.]test[.]ts$|/src/testing/'

const pathOf = (name) => (name === 'native' ? 'native/' : `packages/${name}/`)

export default {
  forbidden: [
    ...Object.entries(layers).map(([name, allowed]) => ({
      name: `layer-${name}`,
      severity: 'error',
      from: { path: `^${pathOf(name)}` },
      to: {
        path: '^(packages|native|test|bench)/',
        pathNot: [name, ...allowed].map((each) => `^${pathOf(each)}`),
      },
    })),
    {
      name: 'package-unknown',
      comment: 'a new package gets a place in the layers first',
      severity: 'error',
      from: { path: '^packages/', pathNot: Object.keys(layers).map((each) => `^${pathOf(each)}`) },
      to: {},
    },
    {
      name: 'pure',
      severity: 'error',
      from: { path: pure.map((each) => `^${pathOf(each)}`), pathNot: notShipped },
      to: { dependencyTypes: ['core'], pathNot: '^(node:)?(assert|buffer|crypto|util)(/|$)' },
    },
    {
      name: 'not-to-unresolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'not-to-undeclared',
      comment: 'an import that package.json does not name works only by luck',
      severity: 'error',
      from: {},
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
    },
    {
      name: 'not-to-dev-dependency',
      severity: 'error',
      from: { path: '^(packages|native)/', pathNot: notShipped },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'no-tests-in-shipped-code',
      severity: 'error',
      from: { pathNot: `${notShipped}|^test/` },
      to: { path: notShipped },
    },
    {
      name: 'no-cycle',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(dist|build)/' },
    tsPreCompilationDeps: true,
    combinedDependencies: true,
    tsConfig: { fileName: 'tsconfig.base.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['@cloudfs/source', 'import', 'node', 'default', 'types'],
      mainFields: ['module', 'main', 'types'],
    },
  },
}
