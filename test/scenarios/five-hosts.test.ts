/**
 * Five hosts, of which two are cut off: the primary among them, apart from each other or with each other. Goal: the three others go
 * on; the two serve nobody. Method: as in partitions.test.ts.
 */
import { afterAll, beforeAll, describe, test } from 'vitest'
import { IS_LONG } from '../e2e/support/cluster.js'
import { NetworkedCluster } from '../e2e/support/networked-cluster.js'
import { Trial, trialOfRun } from '../e2e/support/trial.js'

const STORE_SIZE = '192M'
const ROUNDS = IS_LONG ? 20 : 1
const { seed, why, options } = trialOfRun()

describe.skipIf(why !== undefined)(`five hosts (SEED=${String(seed)})`, () => {
  const cluster = new NetworkedCluster()

  beforeAll(async () => {
    await cluster.up(5, STORE_SIZE)
  }, 120_000)
  afterAll(() => cluster.dispose(), 120_000)

  test(
    'three of them go on without two, and all hold what clients everywhere were told',
    options,
    async () => {
      const trial = await Trial.begin(cluster, seed)
      for (let round = 0; round < ROUNDS; round++) {
        await trial.lead(1)
        // They still hear each other.
        await cluster.cutOff(1, 2)
        await trial.goOn(3, 4, 5)
        await cluster.rejoin(1, 2)
        await trial.lead(1)
        await cluster.cutOff(1)
        await cluster.lose(2, 3, 4, 5)
        await trial.goOn(3, 4, 5)
        await cluster.hear(2, 3, 4, 5)
        await cluster.rejoin(1)
        await trial.whole()
      }
      await Trial.end(cluster, trial)
    },
  )
})
