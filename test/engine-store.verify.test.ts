/**
 * Goal: what the shipped core writes, the tools' reader reads: same volumes, heads and contents, and nothing to find; after
 * clean stops, and as a power cut left it, before and after the core has recovered.
 * Method: random work on a simulated disk, from a seed that is printed.
 */
import { openStore, readVersion, type StoredVersion, verifyStore } from '@cloudfs/format'
import type { VolumeId } from '@cloudfs/interface'
import { describe, expect, test } from 'vitest'
import { type Random, randomFrom, type SimulatedDisk } from '@cloudfs/simulator'
import { SimulatedStore } from './support/simulated-store.js'

const BLOCK = 4096
const SIZE = 2000 * BLOCK
const isLong = process.env['CLOUDFS_TEST_LONG'] !== undefined
const seeds = Array.from({ length: isLong ? 300 : 12 }, (_, index) => index + 1)

async function contentsOf(
  disk: SimulatedDisk,
  pick: (store: Awaited<ReturnType<typeof openStore>>) => StoredVersion,
): Promise<Buffer> {
  const store = await openStore(disk)
  const pieces: Buffer[] = []
  for await (const { bytes, data } of readVersion(store, pick(store)))
    pieces.push(data ? Buffer.from(data) : Buffer.alloc(bytes))
  return Buffer.concat(pieces)
}

/** What the histories went through, all seeds together. */
const seen = {
  recordsLost: 0,
  strays: 0,
  tornBodies: 0,
  forwards: 0,
  deadBlocks: 0,
  deadTrees: 0,
  snapshots: 0,
  branches: 0,
  replayed: 0,
}

async function note(disk: SimulatedDisk, made: readonly { volume: VolumeId; lsn: number }[]): Promise<void> {
  const { checkpoint, log, scanned, volumes } = await openStore(disk)
  for (const { volume, lsn } of made) seen.recordsLost += lsn - (volumes.get(volume)?.lsn ?? 0)
  for (const { batches, strays } of scanned.values()) {
    seen.strays += strays.length
    seen.tornBodies += batches.filter(({ batch }) => batch.sequence === log.nextSequence).length
  }
  seen.forwards += checkpoint.forwards.reduce((count, { entries }) => count + entries.length, 0)
  seen.replayed += log.batches.length
  for (const { kind, deadTail, deadTrees } of checkpoint.nodes) {
    seen.deadBlocks += deadTail.length
    seen.deadTrees += deadTrees.length
    if (kind === 'named') seen.snapshots++
    if (kind === 'hidden') seen.branches++
  }
}

/** One step of random work. */
function work(store: SimulatedStore, random: Random, step: number): void {
  const volumes = store.command('volumes', {})
  const { volume, lsn, version, sizeBytes } = volumes[
    Math.floor(random() * volumes.length)
  ] as (typeof volumes)[0]
  const blocks = sizeBytes / BLOCK
  const offset = Math.floor(random() * (blocks - 20)) * BLOCK
  const dice = random()
  if (dice < 0.6) {
    const length = (1 + Math.floor(random() * 12)) * BLOCK - (random() < 0.3 ? 1000 : 0)
    const payload = random() < 0.1 ? new Uint8Array(length) : store.draw(length)
    const reply = store.request(volume, {
      kind: 'write',
      offset: offset + (random() < 0.3 ? 500 : 0),
      length,
      payload,
      fua: random() < 0.1,
    })
    expect(reply.error).toBe(0)
  } else if (dice < 0.7) {
    store.request(volume, {
      kind: random() < 0.5 ? 'trim' : 'write-zeroes',
      offset,
      length: Math.floor(1 + random() * (random() < 0.3 ? blocks - offset / BLOCK - 1 : 15)) * BLOCK,
    })
  } else if (dice < 0.75) store.request(volume, { kind: 'flush' })
  else if (dice < 0.8) store.command('checkpoint', {})
  else if (dice < 0.86) store.command('snapshot', { volume, name: `s${step}` })
  else if (dice < 0.9 && volumes.length < 4)
    store.create(`b${step}`, sizeBytes, { text: volume, volume, lsn, version })
  else if (dice < 0.92) deleteSnapshot(store, volume)
  else if (dice < 0.94)
    store.command('resize', { volume, sizeBytes: (500 + Math.floor(random() * 2000)) * BLOCK })
  else if (dice < 0.95 && volumes.length > 1) store.command('delete', { volume })
  else cleanOne(store, random)
}

function deleteSnapshot(store: SimulatedStore, volume: VolumeId): void {
  const found = store.command('volumes', {}).find((each) => each.volume === volume)
  const snapshot = found?.snapshots[0] as { name: string } | undefined
  if (snapshot !== undefined) store.command('delete-snapshot', { volume, name: snapshot.name })
}

function cleanOne(store: SimulatedStore, random: Random): void {
  const sealed = store
    .command('segments', {})
    .segments.filter(({ kind, state }) => kind !== 'index' && state === 'sealed')
  const segment = sealed[Math.floor(random() * sealed.length)]
  if (segment === undefined) return
  try {
    store.command('clean', { logical: segment.logical })
  } catch (error) {
    expect(error).toMatchObject({ code: 'ERR_SEGMENT_BUSY' })
  }
}

function makeStore(random: Random, steps: number): SimulatedStore {
  const store = SimulatedStore.format(random)
  store.create('disk', SIZE)
  for (let step = 0; step < steps; step++) work(store, random, step)
  return store
}

/** Volumes and snapshots alike in the reader's eyes and in the core's. */
async function expectSame(disk: SimulatedDisk, store: SimulatedStore): Promise<void> {
  const report = await verifyStore(disk)
  expect(report.findings).toEqual([])
  const volumes = store.command('volumes', {})
  const heads = (list: readonly { volume: string; lsn: number; version: string }[]): string[] =>
    list.map(({ volume, lsn, version }) => `${volume} ${lsn} ${version}`).toSorted()
  expect(heads(report.volumes)).toEqual(heads(volumes))
  for (const { volume, sizeBytes, snapshots } of volumes) {
    const head = await contentsOf(disk, (each) => each.volumes.get(volume) as StoredVersion)
    expect(head.equals(store.read(volume, sizeBytes))).toBe(true)
    for (const { name } of snapshots as { name: string }[]) {
      const kept = await contentsOf(
        disk,
        (each) => each.volumes.get(volume)?.snapshots.get(name) as StoredVersion,
      )
      expect(kept.equals(store.read(`${volume}@${name}`, kept.length))).toBe(true)
    }
  }
}

describe.each(seeds)('seed %i', { timeout: 120_000 }, (seed) => {
  test('a store that was stopped cleanly reads as the core reads it', async () => {
    const random = randomFrom(seed)
    const store = makeStore(random, 60)
    store.settle()
    store.stop()
    expect((await verifyStore(store.disk)).findings).toEqual([])
    await expectSame(store.disk, SimulatedStore.start(store.disk, random))
  })

  test('what a power cut leaves is sound, and reads as the core recovers it', async () => {
    const random = randomFrom(1000 + seed)
    const store = makeStore(random, 60)
    const made = store.command('volumes', {})
    const ops = Array.from({ length: Math.floor(random() * 6) }, (_, index) => ({
      kind: 'write' as const,
      offset: index * 8 * BLOCK,
      payload: store.draw(8 * BLOCK),
    }))
    store.abandon(made[0]?.volume ?? '', ops)
    const disk = store.disk.cutPower(random)
    await note(disk, made)
    const before = await verifyStore(disk)
    expect(before.findings).toEqual([])
    const recovered = SimulatedStore.start(disk, random)
    const heads = recovered
      .command('volumes', {})
      .map(({ volume, lsn, version }) => `${volume} ${lsn} ${version}`)
    expect(
      before.volumes.map(({ volume, lsn, version }) => `${volume} ${lsn} ${version}`).toSorted(),
    ).toEqual(heads.toSorted())
    for (let step = 100; step < 120; step++) work(recovered, random, step)
    recovered.settle()
    recovered.stop()
    await expectSame(disk, SimulatedStore.start(disk, random))
  })
})

test('a flipped bit in a block that the core wrote is found in its place', async () => {
  const store = SimulatedStore.format(randomFrom(7))
  store.request(store.create('disk', SIZE), {
    kind: 'write',
    offset: 5 * BLOCK,
    payload: store.draw(BLOCK),
    fua: true,
  })
  store.settle()
  store.stop()
  const entry = await (await openStore(store.disk)).volumes.values().next().value?.map.lookup(5)
  const offset = (entry?.slot ?? 0) * 1024
  store.disk.flip(0, offset + 17)
  const { findings } = await verifyStore(store.disk)
  expect(findings).toMatchObject([
    { code: 'ERR_BLOCK_CORRUPT', details: { logical: entry?.segment, offset, block: 5 } },
  ])
})

test('the histories had what they are to be tested with', () => {
  // What is rare is sure to come in the long run alone.
  const { strays, tornBodies, deadTrees, ...common } = seen
  for (const [what, count] of Object.entries(common)) expect(count, what).toBeGreaterThan(0)
  if (isLong) expect(Math.min(strays, tornBodies, deadTrees)).toBeGreaterThan(0)
})
