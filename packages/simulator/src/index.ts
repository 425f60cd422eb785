/**
 * Whole clusters in one process from one seed, around the shipped core and protocol (docs/testing.md, Simulation); imported by
 * no shipped code.
 */
export { findFault } from './checkers/linearizability.js'
export { contentOf, UNIT_BYTES, writeId, writesIn } from './contents.js'
export { type Counts, Coverage } from './coverage.js'
export { SimulatedDisk } from './disk.js'
export { type FaultKind, faultKinds } from './faults.js'
export { History } from './history.js'
export { live, type LifeOptions, type Report } from './life.js'
export { fixedPrimary, type Policy, type PolicyMaker, type PolicyPorts } from './policy.js'
export { rotKinds } from './rotting.js'
export { type Random, randomFrom } from './random.js'
export type { Scenario } from './scenario.js'
