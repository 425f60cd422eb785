/**
 * Clusters in one process from one seed, around the shipped core and protocol; imported by no shipped code.
 */
export {}
