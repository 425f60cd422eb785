/**
 * Contracts, ids, units and errors that every other package shares; imports nothing.
 */
export {}
