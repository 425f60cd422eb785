/**
 * The encrypted peer channel between replicators.
 */
export {}
