/**
 * Goal: the simulator finds bugs. Method: each that can be planted in the core is, and seeds are lived until it is found; how
 * many that may take is stated, about five times what it took when it was written.
 */
import { type Plant, plants } from '@cloudfs/native'
import { expect, test } from 'vitest'
import { live } from './life.js'
import type { Scenario } from './scenario.js'
import { MILLISECOND, SECOND } from './schedule.js'

interface Hunt {
  /** Seeds from 1 on. */
  readonly seedsMax: number
  /** Where lives of all kinds would find it too, and take longer. */
  readonly scenario?: Partial<Scenario>
}

/** A primary that stays one, and clients without sessions: nothing comes between the fault and what it does to a store. */
const plain: Partial<Scenario> = { hasElections: false, attachmentCount: 0 }
const elected: Partial<Scenario> = { hasElections: true, attachmentCount: 0, hostCount: 3, spareCount: 0 }

const hunts: Readonly<Record<Plant, Hunt>> = {
  'ack-before-majority': { seedsMax: 20 },
  // A host that is alone has no majority that remembers what it forgot.
  'flush-without-sync': {
    seedsMax: 20,
    scenario: {
      hostCount: 1,
      mode: 'quorum',
      attachmentCount: 0,
      faults: ['power', 'kill', 'slow-disk'],
      faultMeanNs: 100 * MILLISECOND,
    },
  },
  'freed-before-commit': {
    seedsMax: 120,
    scenario: {
      ...plain,
      mode: 'quorum',
      segmentCount: 40,
      blockCount: 48,
      operatorMeanNs: 30 * MILLISECOND,
      faults: ['kill', 'restart', 'slow-disk'],
      faultMeanNs: 60 * MILLISECOND,
    },
  },
  'torn-tail-accepted': { seedsMax: 20 },
  'trim-lost-in-catch-up': { seedsMax: 60, scenario: { attachmentCount: 0 } },
  'commit-before-own-append': {
    seedsMax: 200,
    scenario: { ...plain, hostCount: 3, faults: ['slow-disk', 'kill', 'slow-network'] },
  },
  'own-tail-acknowledged': {
    seedsMax: 20,
    scenario: {
      ...plain,
      hostCount: 2,
      mode: 'durable',
      faults: ['power', 'kill', 'slow-disk', 'slow-network'],
      faultMeanNs: 100 * MILLISECOND,
    },
  },
  'lease-ignored': {
    seedsMax: 100,
    scenario: { ...elected, faults: ['freeze', 'suspend', 'partition', 'one-way'] },
  },
  'boot-ignored': {
    seedsMax: 40,
    scenario: { ...elected, faults: ['power', 'power-all', 'power-others', 'kill', 'slow-disk'] },
  },
  'old-view-commit': {
    seedsMax: 60,
    scenario: { ...elected, mode: 'quorum', faults: ['unsent-tail'], faultMeanNs: SECOND },
  },
  'unsynced-promise': {
    seedsMax: 20,
    scenario: {
      ...elected,
      mode: 'quorum',
      faults: ['forgotten-promise'],
      faultMeanNs: 2 * SECOND,
    },
  },
  'stale-replica-set': {
    seedsMax: 60,
    scenario: {
      ...elected,
      mode: 'quorum',
      spareCount: 2,
      changeMeanNs: 200 * MILLISECOND,
      faults: ['partition-at-change'],
      faultMeanNs: 200 * MILLISECOND,
    },
  },
  'retried-request-applied-twice': {
    seedsMax: 30,
    scenario: {
      hostCount: 3,
      spareCount: 0,
      attachmentCount: 2,
      clientCount: 16,
      blockCount: 8,
      faults: ['broken-route', 'partition', 'one-way', 'slow-network'],
      faultMeanNs: 60 * MILLISECOND,
    },
  },
  'repair-unchecked': {
    seedsMax: 20,
    scenario: {
      hostCount: 3,
      spareCount: 0,
      attachmentCount: 0,
      blockCount: 16,
      faults: ['kill', 'restart', 'slow-disk'],
      rotMeanNs: 50 * MILLISECOND,
      endsInRot: false,
    },
  },
  'witness-counted-as-data': { seedsMax: 20, scenario: { ...elected, hasWitness: true, mode: 'quorum' } },
  'heir-leads-at-first-word': {
    seedsMax: 20,
    scenario: {
      ...elected,
      mode: 'quorum',
      faults: ['slow-disk', 'slow-network'],
      operatorMeanNs: 30 * MILLISECOND,
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
