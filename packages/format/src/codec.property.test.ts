/**
 * Goal: each codec gives back what it was given, and refuses damage with its own code, whatever the damage.
 * Method: random values; random values with a few bytes flipped or cut off, with and without the checksums mended.
 */
import { isCloudfsError } from '@cloudfs/interface'
import fc, { type Arbitrary } from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as format from './index.js'
import * as arbitrary from './testing/arbitraries.js'
import { mendChecksums } from './testing/mend-checksums.js'

interface Codec<T> {
  readonly name: string
  readonly values: Arbitrary<T>
  readonly encode: (value: T) => Uint8Array
  readonly decode: (bytes: Uint8Array) => T
  readonly codes: readonly string[]
}

function codec<T>(
  name: string,
  values: Arbitrary<T>,
  encode: (value: T) => Uint8Array,
  decode: (bytes: Uint8Array) => T,
  ...codes: string[]
): Codec<unknown> {
  return { name, values, encode, decode, codes } as unknown as Codec<unknown>
}

function decodeBatchOnly(bytes: Uint8Array): format.Batch {
  const { headerBytes: _1, batchBytes: _2, placed: _3, ...batch } = format.decodeBatch(bytes)
  return batch
}

const codecs = [
  codec(
    'superblock',
    arbitrary.superblocks,
    format.encodeSuperblock,
    format.decodeSuperblock,
    'ERR_SUPERBLOCK_CORRUPT',
    'ERR_STORE_VERSION',
  ),
  codec(
    'segment-header',
    arbitrary.segmentHeaders,
    format.encodeSegmentHeader,
    format.decodeSegmentHeader,
    'ERR_SEGMENT_CORRUPT',
    'ERR_STORE_VERSION',
  ),
  codec(
    'batch',
    arbitrary.batches,
    (batch) => format.encodeBatch(batch).header,
    decodeBatchOnly,
    'ERR_BATCH_CORRUPT',
    'ERR_RECORD_CORRUPT',
    'ERR_RECORD_VERSION',
  ),
  codec(
    'run',
    arbitrary.runs,
    format.encodeRun,
    format.decodeRun,
    'ERR_RECORD_CORRUPT',
    'ERR_RECORD_VERSION',
  ),
  codec(
    'page',
    fc.array(arbitrary.entries, { minLength: 256, maxLength: 256 }),
    format.encodePage,
    format.decodePage,
    'ERR_ENTRY_CORRUPT',
  ),
  codec('create', arbitrary.createPayloads, format.encodeCreate, format.decodeCreate, 'ERR_PAYLOAD_INVALID'),
  codec('view', arbitrary.viewPayloads, format.encodeView, format.decodeView, 'ERR_PAYLOAD_INVALID'),
  codec(
    'snapshot',
    arbitrary.snapshotNames,
    format.encodeSnapshotName,
    format.decodeSnapshotName,
    'ERR_PAYLOAD_INVALID',
  ),
  codec('resize', arbitrary.volumeSizes, format.encodeResize, format.decodeResize, 'ERR_PAYLOAD_INVALID'),
  codec('mode', arbitrary.modes, format.encodeMode, format.decodeMode, 'ERR_PAYLOAD_INVALID'),
  codec(
    'checkpoint',
    arbitrary.checkpoints,
    format.encodeCheckpoint,
    format.decodeCheckpoint,
    'ERR_CHECKPOINT_CORRUPT',
  ),
]

describe.each(codecs)('$name', { timeout: 120_000 }, ({ name, values, encode, decode, codes }) => {
  test('what was encoded decodes to the same value', () => {
    fc.assert(
      fc.property(values, (value) => {
        expect(decode(encode(value))).toEqual(value)
      }),
    )
  })

  test('damaged bytes decode, or are refused with the code of the structure', () => {
    fc.assert(
      fc.property(values, arbitrary.mutations, fc.boolean(), (value, mutation, isMended) => {
        const damaged = arbitrary.mutate(encode(value), mutation)
        try {
          decode(isMended ? mendChecksums(name, damaged) : damaged)
        } catch (error) {
          if (!isCloudfsError(error)) throw error
          expect(codes).toContain(error.code)
        }
      }),
    )
  })

  test('arbitrary bytes are refused with the code of the structure, or are a value', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000, size: 'max' }), (bytes) => {
        try {
          decode(bytes)
        } catch (error) {
          if (!isCloudfsError(error)) throw error
          expect(codes).toContain(error.code)
        }
      }),
    )
  })

  if (codes.includes('ERR_PAYLOAD_INVALID')) {
    test('up to three zeros behind it are padding', () => {
      fc.assert(
        fc.property(values, fc.nat({ max: 3 }), (value, zeros) => {
          const bytes = encode(value)
          expect(decode(Buffer.concat([bytes, new Uint8Array(zeros)]))).toEqual(value)
          expect(() => decode(Buffer.concat([bytes, new Uint8Array(4)]))).toThrow(/end/)
        }),
      )
    })
  }
})

test('a checksum over header and contents notices each flipped bit of a run', () => {
  fc.assert(
    fc.property(arbitrary.runs, fc.nat(), fc.integer({ min: 0, max: 7 }), (run, at, bit) => {
      const bytes = format.encodeRun(run)
      const index = at % bytes.length
      bytes[index] = (bytes[index] ?? 0) ^ (1 << bit)
      expect(() => format.decodeRun(bytes)).toThrow(expect.objectContaining({ code: 'ERR_RECORD_CORRUPT' }))
    }),
  )
})

test('a count that its bytes cannot hold is refused before anything is allocated for it', () => {
  fc.assert(
    fc.property(arbitrary.runs, (run) => {
      const bytes = format.encodeRun(run)
      new DataView(bytes.buffer, bytes.byteOffset).setUint32(64, 0xffffffff, true)
      expect(() => format.decodeRun(mendChecksums('run', bytes))).toThrow(/(count|firstLsn) is/)
    }),
  )
})
