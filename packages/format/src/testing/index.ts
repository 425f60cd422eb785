/** What tests of this and other packages share: random values, damage, and stores made by this codec. Never published. */
export * from './arbitraries.js'
export * from './memory-medium.js'
export * from './mend-checksums.js'
export * from './store-builder.js'
export * from './golden-store.js'
export * from './golden-values.js'
