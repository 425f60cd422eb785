/**
 * The replicator node: composition root of the policy half.
 */
export * from './engine-client.js'
