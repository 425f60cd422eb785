/**
 * Goal: the simulator finds bugs. Method: each that can be planted in the core is, and seeds are lived until it is found; how
 * many that may take is stated, about five times what it took when it was written.
 */
import { type Plant, plants } from '@cloudfs/native'
import { expect, test } from 'vitest'
import { live } from './life.js'
import type { Scenario } from './scenario.js'
import { MILLISECOND } from './schedule.js'

interface Hunt {
  /** Seeds from 1 on. */
  readonly seedsMax: number
  /** Where lives of all kinds would find it too, and take longer. */
  readonly scenario?: Partial<Scenario>
}

const hunts: Readonly<Record<Plant, Hunt>> = {
  'ack-before-majority': { seedsMax: 20 },
  'flush-without-sync': { seedsMax: 20 },
  'freed-before-commit': {
    seedsMax: 250,
    scenario: {
      hasElections: false,
      segmentCount: 40,
      operatorMeanNs: 30 * MILLISECOND,
      faults: ['kill', 'power', 'restart', 'slow-disk'],
    },
  },
  'torn-tail-accepted': { seedsMax: 20 },
  'trim-lost-in-catch-up': { seedsMax: 20 },
  'commit-before-own-append': {
    seedsMax: 75,
    scenario: { hostCount: 3, faults: ['slow-disk', 'kill', 'slow-network'] },
  },
  'own-tail-acknowledged': { seedsMax: 40, scenario: { hasElections: false } },
  'lease-ignored': { seedsMax: 75 },
  'boot-ignored': { seedsMax: 40 },
  'retried-request-applied-twice': {
    seedsMax: 30,
    scenario: {
      hostCount: 3,
      attachmentCount: 2,
      clientCount: 16,
      blockCount: 8,
      faults: ['broken-route', 'partition', 'one-way', 'slow-network'],
      faultMeanNs: 60 * MILLISECOND,
    },
  },
}

test.each(plants)('%s is found', { timeout: 900_000 }, async (plant) => {
  const { seedsMax, scenario = {} } = hunts[plant]
  for (let seed = 1; seed <= seedsMax; seed++) {
    const { fault } = await live({ seed, plant, scenario })
    if (fault !== undefined) return
  }
  expect.fail(`not found in ${String(seedsMax)} seeds`)
})
