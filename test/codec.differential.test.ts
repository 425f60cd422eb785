/**
 * Goal: the engine's codec and the tools' read every byte alike: the same value, or the same reason to refuse it.
 * Method: random values as this codec writes them, whole, damaged, and damaged with the checksums mended; and noise.
 */
import { readdirSync, readFileSync } from 'node:fs'
import * as format from '@cloudfs/format'
import * as testing from '@cloudfs/format/testing'
import { crc32c as nativeCrc32c, describe as nativeDescribe } from '@cloudfs/native'
import fc, { type Arbitrary } from 'fast-check'
import { describe, expect, test } from 'vitest'

const isLong = process.env['CLOUDFS_TEST_LONG'] !== undefined

/** Bytes of random values of each structure. */
const encoded: Record<format.FormatKind, Arbitrary<Uint8Array>> = {
  entry: testing.entries.map((entry) =>
    format.encodePage(Array.from({ length: 256 }, () => entry)).slice(0, 16),
  ),
  superblock: testing.superblocks.map(format.encodeSuperblock),
  'segment-header': testing.segmentHeaders.map(format.encodeSegmentHeader),
  batch: testing.batches.map((batch) => format.encodeBatch(batch).header),
  run: testing.runs.map(format.encodeRun),
  create: testing.createPayloads.map(format.encodeCreate),
  view: testing.viewPayloads.map(format.encodeView),
  snapshot: testing.snapshotNames.map(format.encodeSnapshotName),
  resize: testing.volumeSizes.map(format.encodeResize),
  mode: testing.modes.map(format.encodeMode),
  checkpoint: testing.checkpoints.map(format.encodeCheckpoint),
}

function expectSame(kind: format.FormatKind, bytes: Uint8Array): string {
  const ours = format.describe(kind, bytes)
  expect(nativeDescribe(kind, bytes)).toBe(ours)
  return ours
}

describe.each(format.FORMAT_KINDS)('%s', { timeout: isLong ? 3_600_000 : 120_000 }, (kind) => {
  test('both codecs read a whole value alike', () => {
    fc.assert(
      fc.property(encoded[kind], (bytes) => {
        expect(expectSame(kind, bytes)).toMatch(/^\{/)
      }),
      { numRuns: isLong ? 5000 : 200 },
    )
  })

  test('both codecs read damaged bytes alike, or refuse them with the same code', () => {
    const outcomes = { read: 0, refused: 0 }
    fc.assert(
      fc.property(encoded[kind], testing.mutations, fc.boolean(), (bytes, mutation, isMended) => {
        const damaged = testing.mutate(bytes, mutation)
        const text = expectSame(kind, isMended ? testing.mendChecksums(kind, damaged) : damaged)
        outcomes[text.startsWith('ERR_') ? 'refused' : 'read']++
      }),
      { numRuns: isLong ? 50_000 : 1000 },
    )
    // The damage must not be all of one kind, or little was compared.
    expect(Math.min(outcomes.read, outcomes.refused)).toBeGreaterThan(0)
  })

  test('both codecs refuse noise with the same code', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4200, size: 'max' }), (bytes) => {
        expectSame(kind, bytes)
      }),
      { numRuns: isLong ? 5000 : 200 },
    )
  })
})

test('both codecs compute the same checksum', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 9000, size: 'max' }), (bytes) => {
      const native = nativeCrc32c(bytes)
      expect(native).toBe(format.crc32c(bytes))
    }),
  )
})

const enginesGolden = new URL('golden/format-1/', import.meta.url)
const toolsGolden = new URL('../packages/format/golden/v1/', import.meta.url)

test.each(testing.goldenValues)(
  'both codecs read the golden file $name of the tools alike',
  ({ name, kind }) => {
    expect(expectSame(kind, readFileSync(new URL(`${name}.bin`, toolsGolden)))).toMatch(/^\{/)
  },
)

const enginesNames = readdirSync(enginesGolden).flatMap((name) => /^(.*)\.bin$/.exec(name)?.[1] ?? [])

test.each(enginesNames)('both codecs read the golden file %s of the engine as its text says', (name) => {
  // `run-moved` is a run, `segment-header` a segment header: the longest kind that the name begins with.
  const kind = format.FORMAT_KINDS.filter((each) => name.startsWith(each)).toSorted(
    (a, b) => b.length - a.length,
  )[0]
  expect(kind).toBeDefined()
  const text = expectSame(kind as format.FormatKind, readFileSync(new URL(`${name}.bin`, enginesGolden)))
  expect(text).toBe(readFileSync(new URL(`${name}.txt`, enginesGolden), 'utf8').trimEnd())
})
