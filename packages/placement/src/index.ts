/**
 * Which hosts get the replicas of a volume. Pure.
 */
export {}
