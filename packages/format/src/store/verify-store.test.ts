/**
 * Goal: verification names each kind of damage with its code and place, and passes what is harmless.
 * Method: one store that has everything, damaged in one way at a time; then single bytes anywhere.
 */
import { createHash } from 'node:crypto'
import { BLOCK_BYTES, type Lsn, Token, VersionId } from '@cloudfs/interface'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { openStore, readVersion, type Checkpoint, type MovedRun, type Run, verifyStore } from '../index.js'
import { type BuiltVolume, type MemoryMedium, StoreBuilder } from '../testing/index.js'

interface Made {
  readonly builder: StoreBuilder
  readonly volume: BuiltVolume
}

function randomBlocks(builder: StoreBuilder, count: number): Uint8Array[] {
  return Array.from({ length: count }, () => builder.block())
}

/** Snapshot, branch, a full dead-list page, moved blocks, two checkpoints, a restart and a log to replay. */
function makeStore(tamper: StoreBuilder['tamper'] = {}): Made {
  const builder = new StoreBuilder({ segmentLog2: 17 })
  const volume = builder.create('disk', 1000)
  const fill = (end: number): void => {
    for (let first = 0; first < end; first += 20) {
      builder.write(volume, first, randomBlocks(builder, 20))
      builder.append()
    }
  }
  fill(300)
  builder.snapshot(volume, 'before')
  builder.checkpoint()
  fill(280)
  const branch = builder.branch(volume, 'branch')
  builder.write(branch, 5, randomBlocks(builder, 2))
  builder.trim(volume, 100, 20)
  builder.move(volume, [0, 1, 2, 290])
  builder.restart()
  builder.tamper = tamper
  builder.checkpoint()
  builder.write(volume, 700, randomBlocks(builder, 3))
  builder.sync()
  builder.write(branch, 6, randomBlocks(builder, 1))
  builder.append()
  return { builder, volume }
}

async function findingsOf(medium: MemoryMedium): Promise<[string, number | undefined, number | undefined][]> {
  const { findings } = await verifyStore(medium)
  return findings.map(({ code, details }) => [
    code,
    details['physical'] as number,
    details['offset'] as number,
  ])
}

const { builder: sound, volume } = makeStore()

test('a sound store has no findings, and the report counts what was checked', async () => {
  const report = await verifyStore(sound.medium)
  expect(report.findings).toEqual([])
  expect(report.volumes.map(({ name, snapshots }) => [name, snapshots.map((each) => each.name)])).toEqual([
    ['disk', ['before']],
    ['branch', []],
  ])
  expect(report.checked.blocks).toBeGreaterThan(580)
  expect(report.checked.pages).toBeGreaterThan(6)
  expect(report.checked.batches).toBeGreaterThan(30)
})

// As a core's checkpoint has it that is made while a follower gets blocks; the next start lets go of it.
test('a version that was being staged is no head of a volume yet, and is no damage', async () => {
  const { builder } = makeStore({
    checkpoint: (checkpoint) => {
      const { nodes, store } = checkpoint
      const parent = nodes.find(({ kind }) => kind === 'named')
      if (parent === undefined) throw new Error('the store has a snapshot')
      const staged = { ...parent, id: store.nextNode, kind: 'head' as const, parent: parent.id, name: '' }
      const stray = { ...staged, deadTail: [], deadTrees: [] }
      return {
        ...checkpoint,
        nodes: [...nodes, stray],
        store: { ...store, nextNode: store.nextNode + 1n },
      }
    },
  })
  expect((await verifyStore(builder.medium)).findings).toEqual([])
})

test('progress is told, and ends at the last segment', async () => {
  const progress: string[] = []
  await verifyStore(sound.medium, {
    onProgress: ({ phase, done, total }) => progress.push(`${phase} ${done}/${total ?? '?'}`),
  })
  const last = /^segments (\d+)\/(\d+)$/.exec(progress.at(-1) ?? '')
  expect(last?.[1]).toBe(last?.[2])
  expect(progress[0]).toBe('open 0/?')
})

describe('damage is found where it is', () => {
  test('a flipped bit in a live block', async () => {
    const medium = sound.medium.clone()
    const place = sound.placeOf(volume, 200)
    medium.flip(place.physical, place.offset + 4095)
    expect(await findingsOf(medium)).toEqual([['ERR_BLOCK_CORRUPT', place.physical, place.offset]])
  })

  test('two live blocks that changed places', async () => {
    const medium = sound.medium.clone()
    const [a, b] = [sound.placeOf(volume, 200), sound.placeOf(volume, 201)]
    const segment = medium.segments.get(a.physical) as Uint8Array
    expect(b.physical).toBe(a.physical)
    const bytes = segment.slice(a.offset, a.offset + BLOCK_BYTES)
    segment.copyWithin(a.offset, b.offset, b.offset + BLOCK_BYTES)
    segment.set(bytes, b.offset)
    expect((await findingsOf(medium)).map(([code]) => code)).toEqual([
      'ERR_BLOCK_CORRUPT',
      'ERR_BLOCK_CORRUPT',
    ])
  })

  test('a batch header, and the blocks that nothing describes any more', async () => {
    const medium = sound.medium.clone()
    medium.flip(0, 4096 + 17)
    const findings = await findingsOf(medium)
    expect(findings[0]).toEqual(['ERR_BATCH_CORRUPT', 0, 4096])
    expect(new Set(findings.slice(1).map(([code]) => code))).toEqual(new Set(['ERR_REFERENCE_CORRUPT']))
  })

  test('a segment header', async () => {
    const medium = sound.medium.clone()
    medium.flip(1, 20)
    expect(await findingsOf(medium)).toEqual([['ERR_SEGMENT_CORRUPT', 1, 0]])
  })

  test('a map page', async () => {
    const medium = sound.medium.clone()
    medium.flip(sound.lastSegment('index').physical, 4096 + 100)
    expect((await verifyStore(medium)).findings.map(({ code }) => code)).toContain('ERR_PAGE_CORRUPT')
  })

  test('a batch that was synced is missing from the log', async () => {
    const medium = sound.medium.clone()
    const place = sound.placeOf(volume, 700)
    medium.flip(place.physical, place.offset - BLOCK_BYTES + 16)
    expect((await findingsOf(medium))[0]?.[0]).toBe('ERR_STORE_CORRUPT')
    await expect(openStore(medium)).rejects.toMatchObject({ code: 'ERR_STORE_CORRUPT' })
  })
})

describe('contents that lie behind right checksums are found', () => {
  const withNode = (index: number, change: object) => (checkpoint: Checkpoint) => ({
    ...checkpoint,
    nodes: checkpoint.nodes.map((node, i) => (i === index ? { ...node, ...change } : node)),
  })
  const withSegment = (change: (live: Uint8Array) => Uint8Array) => (checkpoint: Checkpoint) => ({
    ...checkpoint,
    segments: checkpoint.segments.map((segment, i) =>
      i === 0 ? { ...segment, live: change(segment.live) } : segment,
    ),
  })

  test.each([
    [
      'a live block counted as free',
      'ERR_SPACE_LOST',
      withSegment((live) => live.map((byte, i) => (i === 0 ? byte & (byte - 1) : byte))),
    ],
    [
      'a free block counted as live',
      'ERR_SPACE_LEAKED',
      withSegment((live) => live.map((byte, i) => (i === 0 ? byte | 1 : byte))),
    ],
    ['a node whose parent is gone', 'ERR_LINEAGE_CORRUPT', withNode(0, { parent: 99n })],
    ['a node that is its own parent', 'ERR_LINEAGE_CORRUPT', withNode(1, { parent: 2n })],
    ['a map lower than its size', 'ERR_LINEAGE_CORRUPT', withNode(0, { height: 1 })],
    [
      'forwards that go in a circle',
      'ERR_REFERENCE_CORRUPT',
      (checkpoint: Checkpoint) => ({
        ...checkpoint,
        forwards: checkpoint.forwards.map(({ logical, entries }) => ({
          logical,
          entries: entries.map((entry) => ({ ...entry, toSegment: logical, toSlot: entry.fromSlot })),
        })),
      }),
    ],
    [
      'a volume without its head',
      'ERR_LINEAGE_CORRUPT',
      (checkpoint: Checkpoint) => ({
        ...checkpoint,
        volumes: checkpoint.volumes.map((each) => ({ ...each, headNode: 77n })),
      }),
    ],
    [
      'an applied version that the log denies',
      'ERR_CHAIN_BROKEN',
      (checkpoint: Checkpoint) => ({
        ...checkpoint,
        volumes: checkpoint.volumes.map((each) => ({ ...each, appliedPublic: VersionId.zero })),
      }),
    ],
    [
      'a link that does not make the head',
      'ERR_CHAIN_BROKEN',
      (checkpoint: Checkpoint) => ({
        ...checkpoint,
        volumes: checkpoint.volumes.map((each) => ({
          ...each,
          appliedLink: each.appliedLink.with(0, (each.appliedLink[0] ?? 0) ^ 1),
        })),
      }),
    ],
  ])('%s', async (_, code, checkpoint) => {
    const { builder } = makeStore({ checkpoint })
    expect((await verifyStore(builder.medium)).findings.map((finding) => finding.code)).toContain(code)
  })

  const changeWrites = (run: Run, change: (digest: Uint8Array) => Uint8Array): Run => {
    if (run.type !== 'records') return run
    const records = run.records.map((record) =>
      record.kind === 'write'
        ? { ...record, sums: record.sums.map((sum) => ({ ...sum, digest: change(sum.digest) })) }
        : record,
    )
    return { ...run, records }
  }

  test.each([
    [
      'a digest that is another block’s',
      'ERR_BLOCK_CORRUPT',
      (run: Run) => changeWrites(run, (digest) => digest.toReversed()),
    ],
    [
      'a token that the contents do not make',
      'ERR_CHAIN_BROKEN',
      (run: Run) => changeWrites(run, (digest) => digest.toReversed()),
    ],
    [
      'a parent that is not the version before',
      'ERR_CHAIN_BROKEN',
      (run: Run) =>
        run.type === 'records'
          ? {
              ...run,
              records: run.records.map((record) => ({
                ...record,
                parent: Token.fromBytes(new Uint8Array(20).fill(7)),
              })),
            }
          : run,
    ],
  ])('%s', async (_, code, run) => {
    const { builder } = makeStore({ run })
    expect((await verifyStore(builder.medium)).findings.map((finding) => finding.code)).toContain(code)
  })

  test('a moved block that says it is another', async () => {
    const builder = new StoreBuilder()
    const disk = builder.create('disk', 100)
    builder.write(disk, 3, [builder.block()])
    builder.tamper.run = (run) =>
      run.type === 'moved'
        ? ({
            ...run,
            blocks: run.blocks.map((each) => ({ ...each, block: 4, birth: 1 as Lsn })),
          } satisfies MovedRun)
        : run
    builder.move(disk, [3])
    builder.checkpoint()
    expect((await verifyStore(builder.medium)).findings.map(({ code }) => code)).toEqual([
      'ERR_REFERENCE_CORRUPT',
    ])
  })
})

describe('what a power cut leaves is no damage', () => {
  test('a torn copy of the superblock is a note', async () => {
    const medium = sound.medium.clone()
    medium.superblocks[4096 + 90] = 0xaa
    const report = await verifyStore(medium)
    expect([report.findings, report.notes.map(({ code }) => code)]).toEqual([[], ['ERR_SUPERBLOCK_CORRUPT']])
  })

  test('a last batch that was never synced and is torn ends the log before it', async () => {
    const medium = sound.medium.clone()
    const branch = [...sound.volumes.values()].at(-1) as BuiltVolume
    const place = sound.placeOf(branch, 6)
    medium.flip(place.physical, place.offset + 1000)
    const report = await verifyStore(medium)
    expect(report.findings).toEqual([])
    expect(report.volumes.at(-1)?.lsn).toBe(branch.lsn - 1)
  })

  test('what an earlier start left behind its end stays void', async () => {
    const builder = new StoreBuilder()
    const disk = builder.create('disk', 100)
    builder.checkpoint()
    builder.write(disk, 1, [builder.block()])
    builder.append()
    const torn = builder.medium.clone()
    builder.write(disk, 2, [builder.block()])
    builder.append()
    const stale = builder.medium.segments.get(builder.lastSegment('user').physical)?.slice()
    expect(stale).toBeDefined()

    // The same history, but the second write was lost in a crash and another was made by the next start.
    const again = new StoreBuilder()
    const disk2 = again.create('disk', 100)
    again.checkpoint()
    again.write(disk2, 1, [again.block()])
    again.append()
    expect(again.medium.segments.get(0)).toEqual(torn.segments.get(0))
    again.restart()
    again.write(disk2, 3, [again.block()])
    again.append()
    again.medium.segments.set(0, stale as Uint8Array)
    const report = await verifyStore(again.medium)
    expect([report.findings, report.volumes[0]?.version]).toEqual([[], disk2.publicId])
  })
})

describe('a store that cannot be opened is refused with a code', () => {
  test.each([
    ['nothing there', 'ERR_STORE_NOT_FOUND', (medium: MemoryMedium) => medium.superblocks.fill(0)],
    ['both superblocks damaged', 'ERR_STORE_CORRUPT', (medium: MemoryMedium) => medium.superblocks.fill(1)],
    [
      'a checkpoint page damaged',
      'ERR_STORE_CORRUPT',
      (medium: MemoryMedium) => {
        medium.flip(sound.lastSegment('index').physical, sound.lastSegment('index').used - 10)
      },
    ],
    ['a segment file gone', 'ERR_STORE_CORRUPT', (medium: MemoryMedium) => medium.segments.delete(0)],
  ])('%s', async (_, code, damage) => {
    const medium = sound.medium.clone()
    damage(medium)
    await expect(verifyStore(medium)).rejects.toMatchObject({ code })
  })
})

/** What can be read of all versions, in short. */
async function readAll(medium: MemoryMedium): Promise<string[]> {
  const store = await openStore(medium)
  const all: string[] = []
  for (const each of store.volumes.values()) {
    for (const version of [each, ...each.snapshots.values()]) {
      const hash = createHash('sha256')
      for await (const { offset, data } of readVersion(store, version))
        hash.update(`${offset}`).update(data ?? '')
      all.push(`${version.publicId} ${hash.digest('hex')}`)
    }
  }
  return all
}

test('a flipped byte anywhere is found, or changes nothing that can be read', async () => {
  const before = await readAll(sound.medium)
  const physicals = [...sound.medium.segments.keys()]
  await fc.assert(
    fc.asyncProperty(
      fc.nat(),
      fc.nat({ max: sound.segmentBytes - 1 }),
      fc.integer({ min: 1, max: 255 }),
      async (at, offset, xor) => {
        const medium = sound.medium.clone()
        medium.flip(physicals[at % physicals.length] ?? 0, offset, xor)
        let isFound = false
        try {
          isFound = (await verifyStore(medium)).findingCount > 0
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^ERR_/) as string })
          isFound = true
        }
        // The last batch was never synced: to lose it is no damage.
        if (!isFound && physicals[at % physicals.length] !== sound.lastSegment('user').physical) {
          expect(await readAll(medium)).toEqual(before)
        }
      },
    ),
    { numRuns: process.env['CLOUDFS_TEST_LONG'] === undefined ? 60 : 3000 },
  )
}, 600_000)
