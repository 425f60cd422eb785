/**
 * Hosts that do not hear each other. Goal: who has a majority goes on; who has none answers nobody what the others contradict,
 * not even the client at its own socket; and all that clients at all hosts were ever told is what one disk says, to its last
 * sector. Method: nodes in network namespaces, between which packets are dropped; clients at every node write and read the same
 * sectors all the time; a checker of linearizability judges what they saw.
 */
import { afterAll, beforeAll, describe, test } from 'vitest'
import { IS_LONG } from '../e2e/support/cluster.js'
import { NetworkedCluster } from '../e2e/support/networked-cluster.js'
import { Trial, trialOfRun } from '../e2e/support/trial.js'

/** Small, so that it is cleaned meanwhile. */
const STORE_SIZE = '192M'
const ROUNDS = IS_LONG ? 20 : 1
const { seed, why, options } = trialOfRun()

describe.skipIf(why !== undefined)(`three hosts (SEED=${String(seed)})`, () => {
  const cluster = new NetworkedCluster()
  let trial: Trial

  /** The first host leads; something happens, and ends. Clients at these hosts go on meanwhile, by whoever leads then. */
  async function rounds(
    goOn: readonly number[],
    happen: () => Promise<void>,
    end: () => Promise<void>,
  ): Promise<void> {
    for (let round = 0; round < ROUNDS; round++) {
      await trial.lead(1)
      await happen()
      await trial.goOn(...goOn)
      await end()
      await trial.whole()
    }
    trial.disk.judge()
  }

  beforeAll(async () => {
    await cluster.up(3, STORE_SIZE)
  }, 120_000)
  afterAll(() => cluster.dispose(), 120_000)

  test('clients at every host are served at the same time', options, async () => {
    trial = await Trial.begin(cluster, seed)
    await trial.whole()
  })

  test('a primary that is cut off from both others is replaced', options, () =>
    rounds(
      [2, 3],
      () => cluster.cutOff(1),
      () => cluster.rejoin(1),
    ),
  )

  test('a primary that hears nobody is replaced, though all hear it', options, () =>
    rounds(
      [2, 3],
      () => cluster.lose(1, 2, 3),
      () => cluster.hear(1, 2, 3),
    ),
  )

  test('a primary that nobody hears is replaced, though it hears all', options, () =>
    rounds(
      [2, 3],
      async () => {
        await cluster.lose(2, 1)
        await cluster.lose(3, 1)
      },
      async () => {
        await cluster.hear(2, 1)
        await cluster.hear(3, 1)
      },
    ),
  )

  test('a replica that does not hear the primary, or is not heard, stops nobody else', options, async () => {
    await rounds(
      [1, 3],
      () => cluster.lose(2, 1),
      () => cluster.hear(2, 1),
    )
    await rounds(
      [1, 3],
      () => cluster.lose(1, 2),
      () => cluster.hear(1, 2),
    )
  })

  test('a replica that is cut off stops nobody else, and catches up', options, () =>
    rounds(
      [1, 2],
      () => cluster.cutOff(3),
      () => cluster.rejoin(3),
    ),
  )

  test('a primary whose packets come late loses nothing, whoever leads then', options, () =>
    rounds(
      [],
      () => cluster.slow(1, '8mbit'),
      () => cluster.slow(1, '0'),
    ),
  )

  test('behind all that each replica is sound and holds what the clients were told', options, () =>
    Trial.end(cluster, trial),
  )
})
