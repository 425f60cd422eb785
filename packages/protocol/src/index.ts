/**
 * Views: election, lease, membership, hand-over, secret sharing. Pure: clock, randomness, network and engine
 * are constructor arguments.
 */
export {}
