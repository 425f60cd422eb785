/** What a seed stands for: how large the cluster is, what its clients do, and what goes wrong. */
import { type FaultKind, faultKinds } from './faults.js'
import type { Mode } from './mode.js'
import { below, pick, type Random, randomFrom, spread, within } from './random.js'
import { MILLISECOND, SECOND } from './schedule.js'

export interface Scenario {
  /** Those that keep the volume at first. */
  readonly hostCount: number
  /** Others, which take their places: the set of members changes. */
  readonly spareCount: number
  /** How often operators ask for that. */
  readonly changeMeanNs: number
  /** A member that has been away for so long is replaced. */
  readonly replaceAfterNs: number
  readonly mode: Mode
  /** Who leads is decided by elections; otherwise whoever made the volume leads it for ever. */
  readonly hasElections: boolean
  readonly clientCount: number
  /** Hosts that have the volume attached; every second client is one of theirs. */
  readonly attachmentCount: number
  /** Of the volume that clients use; it has some more. */
  readonly blockCount: number
  readonly segmentCount: number
  readonly faults: readonly FaultKind[]
  readonly faultMeanNs: number
  readonly operatorMeanNs: number
  /** Things go wrong for so long at least, twice. */
  readonly partNs: number
  /** In the end all stores are read by the offline reader, too. */
  readonly isReadOffline: boolean
  /** And then bits of a disk flip. */
  readonly endsInRot: boolean
  /** Or a majority is lost for good, and an operator has the volume go on. */
  readonly endsInForce: boolean
  /** Or it is deleted, if nobody has it attached. */
  readonly endsInDeletion: boolean
  /** Blocks of a disk become bad during life, this often; 0: none. */
  readonly rotMeanNs: number
  /** The last of three hosts keeps no data: with elections, and not in mode local. */
  readonly hasWitness: boolean
}

/** They take others: a single host has no network, and nobody else has what it loses. */
const togetherKinds: readonly FaultKind[] = [
  'power-at-promise',
  'forgotten-promise',
  'unsent-tail',
  'power-others',
  'suspend',
  'partition',
  'partial-partition',
  'partition-at-change',
  'one-way',
  'broken-stream',
  'slow-network',
  'lost-messages',
]
const aloneKinds: readonly FaultKind[] = faultKinds.filter((kind) => !togetherKinds.includes(kind))

export function scenarioOf(seed: number): Scenario {
  const random = randomFrom(seed, 'scenario')
  const hostCount = pick(random, [1, 2, 3, 3, 3, 3, 3, 3, 5])
  const kinds = hostCount === 1 ? aloneKinds : faultKinds
  const scenario = {
    hostCount,
    mode: pick<Mode>(random, ['durable', 'durable', 'durable', 'quorum', 'quorum', 'quorum', 'local']),
    clientCount: within(random, 8, 11),
    blockCount: spread(random, 16, 65),
    segmentCount: spread(random, 40, 97),
    faults: someOf(random, kinds, 4 + below(random, kinds.length - 3)),
    faultMeanNs: spread(random, 60 * MILLISECOND, 1000 * MILLISECOND),
    operatorMeanNs: spread(random, 30 * MILLISECOND, 400 * MILLISECOND),
    partNs: spread(random, 2 * SECOND, 6 * SECOND),
    isReadOffline: below(random, 8) === 0,
    endsInRot: below(random, 4) === 0,
    hasElections: below(random, 5) > 0,
    attachmentCount: pick(random, [0, 1, 2, 2]),
  }
  const mayChange = scenario.hasElections && hostCount > 1
  return {
    ...scenario,
    spareCount: mayChange ? pick(random, [0, 0, 1, 2]) : 0,
    changeMeanNs: spread(random, 100 * MILLISECOND, SECOND),
    replaceAfterNs: spread(random, SECOND, 5 * SECOND),
    endsInForce: mayChange && scenario.mode !== 'local' && below(random, 5) === 0,
    endsInDeletion: mayChange && scenario.attachmentCount === 0,
    rotMeanNs: rotMeanNsOf(seed),
    hasWitness: below(random, 3) === 0,
  }
}

/** Of its own, so that lives without are as they were. */
function rotMeanNsOf(seed: number): number {
  const random = randomFrom(seed, 'rotting')
  return below(random, 4) === 0 ? spread(random, 100 * MILLISECOND, SECOND) : 0
}

function someOf<T>(random: Random, list: readonly T[], count: number): T[] {
  const rest = [...list]
  return Array.from(
    { length: Math.min(count, list.length) },
    () => rest.splice(below(random, rest.length), 1)[0] as T,
  )
}
