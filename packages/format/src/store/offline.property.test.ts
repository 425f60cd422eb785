/**
 * Goal: whatever a store went through, the offline reader gives every version's contents, and verification finds nothing.
 * Method: random histories made by the plain store builder, whose own maps say what each version must hold.
 */
import { BLOCK_BYTES } from '@cloudfs/interface'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { blockDigest, openStore, readVersion, type StoredVersion, verifyStore } from '../index.js'
import { type BuiltVolume, StoreBuilder } from '../testing/index.js'

const BLOCKS = 600

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      block: fc.nat({ max: BLOCKS - 9 }),
      zeros: fc.array(fc.boolean(), { minLength: 1, maxLength: 8 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('trim' as const),
      block: fc.nat({ max: BLOCKS - 1 }),
      count: fc.integer({ min: 1, max: 300 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('append' as const, 'sync' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'snapshot' as const,
        'branch' as const,
        'checkpoint' as const,
        'restart' as const,
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('move' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('resize' as const),
      blocks: fc.integer({ min: 10, max: 2 * BLOCKS }),
    }),
  },
)

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

/** Each step goes to one of the volumes. */
const histories = fc.array(fc.record({ step, volume: fc.nat() }), { maxLength: 40 })

function carryOut(builder: StoreBuilder, volume: BuiltVolume, what: Step, index: number): void {
  const size = builder.nodeOf(volume).size
  switch (what.kind) {
    case 'write': {
      const blocks = what.zeros.map((isZero) => (isZero ? undefined : builder.block()))
      if (what.block + blocks.length <= size) builder.write(volume, what.block, blocks)
      break
    }
    case 'trim':
      if (what.block + what.count <= size) builder.trim(volume, what.block, what.count)
      break
    case 'move': {
      builder.append()
      const stored = [...builder.nodeOf(volume).map]
        .filter(([, entry]) => entry.segment !== 0)
        .map(([block]) => block)
      if (stored.length > 0) builder.move(volume, stored.slice(0, 5))
      break
    }
    case 'resize':
      builder.resize(volume, what.blocks)
      builder.append()
      break
    case 'snapshot':
      builder.snapshot(volume, `snapshot ${index}`)
      break
    case 'branch':
      builder.branch(volume, `branch ${index}`)
      break
    default:
      builder[what.kind]()
  }
}

async function contentsOf(
  store: Awaited<ReturnType<typeof openStore>>,
  version: StoredVersion,
): Promise<Map<number, string>> {
  const contents = new Map<number, string>()
  let end = 0
  for await (const { offset, bytes, data } of readVersion(store, version)) {
    expect(offset).toBe(end)
    end += bytes
    for (let at = 0; data !== undefined && at < data.length; at += BLOCK_BYTES) {
      contents.set((offset + at) / BLOCK_BYTES, digest(data.subarray(at, at + BLOCK_BYTES)))
    }
  }
  expect(BigInt(end)).toBe(version.sizeBytes)
  return contents
}

/** What the builder says a version holds. */
function digests(builder: StoreBuilder, node: Parameters<StoreBuilder['contents']>[0]): Map<number, string> {
  return new Map([...builder.contents(node)].map(([block, bytes]) => [block, digest(bytes)]))
}

function digest(block: Uint8Array): string {
  return Buffer.from(blockDigest(block)).toString('hex')
}

test('the offline reader gives what was written, and verification finds nothing', async () => {
  await fc.assert(
    fc.asyncProperty(histories, fc.integer(), async (history, seed) => {
      const builder = new StoreBuilder({ seed: String(seed), segmentLog2: 17 })
      builder.create('first', BLOCKS)
      history.forEach(({ step: what, volume }, index) => {
        const all = [...builder.volumes.values()]
        carryOut(builder, all[volume % all.length] as BuiltVolume, what, index)
      })
      builder.append()

      const report = await verifyStore(builder.medium)
      expect(report.findings).toEqual([])
      expect(report.notes).toEqual([])
      const store = await openStore(builder.medium)
      expect([...store.volumes.keys()]).toEqual([...builder.volumes.keys()])
      for (const built of builder.volumes.values()) {
        const volume = store.volumes.get(built.id)
        expect(volume).toMatchObject({ lsn: built.lsn, publicId: built.publicId, name: built.name })
        expect(await contentsOf(store, volume as StoredVersion)).toEqual(
          digests(builder, builder.nodeOf(built)),
        )
      }
      for (const node of builder.snapshots()) {
        const version = store.volumes.get(node.volume)?.snapshots.get(node.name)
        expect(version).toMatchObject({ lsn: node.lsn, publicId: node.publicId })
        expect(await contentsOf(store, version as StoredVersion)).toEqual(digests(builder, node))
      }
    }),
    { numRuns: process.env['CLOUDFS_TEST_LONG'] === undefined ? 40 : 1000 },
  )
}, 600_000)
