/**
 * Records, view changes and heads as bytes <-> values, for tools and tests.
 */
export {}
