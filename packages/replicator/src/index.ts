/**
 * The replicator node: composition root of the policy half.
 */
export {}
