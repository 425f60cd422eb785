/**
 * Hosts that hang, whose disk is full, that all die at once and whose power is cut at once. Goal: with a majority alive clients
 * go on; behind it nothing acknowledged is missing, except where all power was cut what nobody had flushed; and never is anybody
 * told what one disk would not say. Method: as in partitions.test.ts, on file systems that get full, and that forget at a power cut
 * what no sync covers.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { IS_LONG } from '../e2e/support/cluster.js'
import { PoweredCluster } from '../e2e/support/powered-cluster.js'
import { Trial, trialOfRun } from '../e2e/support/trial.js'

const HOSTS = [1, 2, 3]
/** More than its file system has: it gets full before the store has been written once. */
const STORE_SIZE = '448M'
const ROUNDS = IS_LONG ? 50 : 1
const { seed, why, options } = trialOfRun()

describe.skipIf(why !== undefined)(`three hosts (SEED=${String(seed)})`, () => {
  const cluster = new PoweredCluster()
  let trial: Trial
  let durable: Trial

  beforeAll(async () => {
    await cluster.up(HOSTS.length, STORE_SIZE)
  }, 120_000)
  afterAll(async () => {
    // What a failed test left stopped does not end by itself.
    for (const index of HOSTS) trial.nodes.signal(index, 'SIGCONT')
    await cluster.dispose()
  }, 120_000)

  const whole = async (): Promise<void> => {
    await trial.whole()
    await durable.whole()
    trial.disk.judge()
    durable.disk.judge()
  }
  const start = async (): Promise<void> => {
    await Promise.all(HOSTS.map((index) => cluster.startNode(index)))
  }

  test('clients at every host are served at the same time', options, async () => {
    trial = await Trial.begin(cluster, seed)
    durable = await Trial.begin(cluster, seed, 'durable')
    await whole()
  })

  test(
    'a primary that hangs beyond its lease is replaced, and tells nobody anything old when it wakes',
    options,
    async () => {
      for (let round = 0; round < ROUNDS; round++) {
        await trial.lead(1)
        trial.nodes.signal(1, 'SIGSTOP')
        expect(await trial.leader(2, 1)).toBeGreaterThan(1)
        await trial.goOn(2, 3)
        trial.nodes.signal(1, 'SIGCONT')
        await whole()
      }
    },
  )

  test('a replica whose disk is full stops nobody, and catches up when there is room', options, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      await trial.lead(1)
      await cluster.fill(3)
      try {
        // More than a store has room made ready for.
        for (let time = 0; time < 2; time++) await trial.burden(1)
        await trial.goOn(...HOSTS)
      } finally {
        cluster.empty(3)
      }
      await whole()
    }
  })

  test('behind a kill of all nodes at once everything acknowledged is there', options, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      for (const index of HOSTS) trial.nodes.signal(index, 'SIGKILL')
      await start()
      await whole()
    }
  })

  test(
    'behind a power cut everything flushed is there, and everything acknowledged in mode durable',
    options,
    async () => {
      for (let round = 0; round < ROUNDS; round++) {
        await cluster.cutPower()
        trial.disk.loseUnflushed()
        await start()
        await whole()
      }
    },
  )

  test('behind all that each replica is sound and holds what the clients were told', options, () =>
    Trial.end(cluster, trial, durable),
  )
})
