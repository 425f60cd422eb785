/**
 * Records, view changes and heads as bytes <-> values, for tools and tests: one codec for each table of
 * docs/disk-format.md, and an offline reader of whole stores.
 */
export * from './batch.js'
export * from './chain.js'
export * from './checkpoint.js'
export * from './crc32c.js'
export * from './describe.js'
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
export { chooseSuperblock } from './store/superblocks.js'
export { placedRuns } from './store/log-scan.js'
export type { StoreMedium } from './store/medium.js'
export { findVersion, type OfflineStore, openStore } from './store/open-store.js'
export { readVersion, type VersionPiece } from './store/read-version.js'
export type { StoredVersion, StoreVolume } from './store/volume.js'
export type { Finding } from './store/findings.js'
export {
  type VerifiedVolume,
  type VerifyOptions,
  type VerifyProgress,
  type VerifyReport,
  verifyStore,
} from './store/verify-store.js'
