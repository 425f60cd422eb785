/**
 * An engine is killed while its replica gets blocks instead of records. Goal: the offline reader finds its store sound, as a
 * start does, though the checkpoint has a version of no volume: what came until then. Method: real engines, and checkpoints made
 * meanwhile until one is such.
 */
import { openStore, verifyStore } from '@cloudfs/format'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openStoreFiles } from '../../packages/cli/src/store-files.js'
import { EngineCluster } from './support/engine-cluster.js'
import { nbdUri } from './support/engine-process.js'
import { runTool } from './support/run-tool.js'

const MIB = 1024 * 1024
const ROUNDS = 8
const TRIES = 20

let cluster: EngineCluster
beforeEach(async () => {
  cluster = await EngineCluster.start(3, { size: '96M' })
})
afterEach(async () => {
  await cluster.dispose()
})

/** @returns how many heads the checkpoint has that no volume names */
async function verify(path: string): Promise<number> {
  await using files = Object.assign(await openStoreFiles(path), {
    async [Symbol.asyncDispose](): Promise<void> {
      await files.close()
    },
  })
  const { checkpoint } = await openStore(files)
  expect((await verifyStore(files)).findings).toEqual([])
  return checkpoint.nodes.filter(({ kind }) => kind === 'head').length - checkpoint.volumes.length
}

test('what was being staged is no damage, and the next start begins anew', { timeout: 120_000 }, async () => {
  await cluster.createVolume(24 * MIB)
  await cluster.headsAreEqual()
  await cluster.kill(2)
  const uri = nbdUri(await cluster.engine(0).serve(cluster.volume))
  // Round the log, so that the records are gone.
  for (let round = 1; round <= ROUNDS; round++) {
    await runTool('qemu-io', '-f', 'raw', '-c', `write -P ${String(round)} 0 24M`, uri)
    for (const index of [0, 1]) await cluster.engine(index).client.call('checkpoint', {})
  }
  let strays = 0
  for (let tried = 0; tried < TRIES && strays === 0; tried++) {
    await cluster.launch(2)
    await cluster.follow(2)
    for (let count = 0; count <= tried % 5; count++) await cluster.engine(2).client.call('checkpoint', {})
    await cluster.kill(2)
    strays = await verify(cluster.engine(2).path('store'))
  }
  expect(strays).toBe(1)
  await cluster.launch(2)
  await cluster.follow(2)
  await cluster.headsAreEqual()
  await cluster.engine(2).client.call('checkpoint', {})
  await cluster.kill(2)
  expect(await verify(cluster.engine(2).path('store'))).toBe(0)
})
