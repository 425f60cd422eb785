/**
 * Hosts that do not hear each other. Goal: who has a majority goes on; who has none answers nobody what the others contradict,
 * not even the client at its own socket; and all that clients at all hosts were ever told is what one disk says, to its last
 * sector. Method: nodes in network namespaces, between which packets are dropped; clients at every node write and read the same
 * sectors all the time; a checker of linearizability judges what they saw.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { IS_LONG } from '../e2e/support/cluster.js'
import { NetworkedCluster, whyNoNamespaces } from '../e2e/support/networked-cluster.js'
import { Trial } from '../e2e/support/trial.js'

/** Small, so that it is cleaned meanwhile. */
const STORE_SIZE = '192M'
const ROUNDS = IS_LONG ? 20 : 1
const options = { timeout: IS_LONG ? 3_600_000 : 120_000 }
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
const why = whyNoNamespaces()
if (why !== undefined) console.error(why)

describe.skipIf(why !== undefined)(`three hosts (SEED=${String(seed)})`, () => {
  const cluster = new NetworkedCluster()
  let trial: Trial

  beforeAll(async () => {
    await cluster.up(3, STORE_SIZE)
  }, 120_000)
  afterAll(() => cluster.dispose(), 120_000)

  test('clients at every host are served at the same time', options, async () => {
    trial = await Trial.begin(cluster, seed)
    await trial.goOn(1, 2, 3)
  })

  test(
    'a primary that is cut off from both others is replaced, and its own client is told nothing old',
    options,
    async () => {
      for (let round = 0; round < ROUNDS; round++) {
        await trial.lead(1)
        await cluster.cutOff(1)
        expect(await trial.leader(2, 1)).toBeGreaterThan(1)
        await trial.goOn(2, 3)
        await cluster.rejoin(1)
        await trial.whole()
      }
    },
  )

  test('behind all that each replica is sound and holds what the clients were told', options, () =>
    trial.end(),
  )
})
