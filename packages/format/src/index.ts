/**
 * Records, view changes and heads as bytes <-> values, for tools and tests: one codec for each table of
 * docs/disk-format.md, and an offline reader of whole stores.
 */
export * from './batch.js'
export * from './chain.js'
export * from './checkpoint.js'
export * from './crc32c.js'
export * from './entry.js'
export * from './hash.js'
export * from './local-item.js'
export * from './moved-block.js'
export * from './page.js'
export * from './payload.js'
export * from './record.js'
export * from './run.js'
export * from './segment-header.js'
export * from './superblock.js'
