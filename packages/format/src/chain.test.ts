import { type Lsn, SessionId, Stamp, Token, VersionId, VolumeId, volumeIdOf } from '@cloudfs/interface'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hash160, publicIds, publicOf, type RecordsRun, tokenOf, verifyLinks, verifyTokens } from './index.js'
import { FLAG_FORCE } from './record.js'
import { recordsRuns } from './testing/arbitraries.js'

const stamps = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Stamp.fromBytes(bytes))
  .filter((stamp) => stamp !== Stamp.zero)
const tokens = fc.uint8Array({ minLength: 20, maxLength: 20, min: 1 }).map((bytes) => Token.fromBytes(bytes))

/** The run with its records linked to each other and to `before`, as a primary that knows the stamp makes it. */
function linked(run: RecordsRun, stamp: Stamp, before: Token): RecordsRun {
  const [first] = run.records
  const isForced = first?.kind === 'view' && (first.flags & FLAG_FORCE) !== 0
  const told = isForced ? Token.fromBytes(VersionId.toBytes(publicOf(before))) : before
  let parent = first?.kind === 'create' ? Token.zero : told
  const records = run.records.map((record, index) => {
    const made = { ...record, parent }
    parent = tokenOf(stamp, run, (run.firstLsn + index) as Lsn, made)
    return made
  })
  const volume =
    records[0]?.kind === 'create'
      ? volumeIdOf(publicOf(tokenOf(stamp, run, run.firstLsn, records[0])))
      : run.volume
  return { ...run, volume, records, lastPublic: publicOf(parent) }
}

test('a run that was linked with the stamp verifies, and its links verify without it', () => {
  fc.assert(
    fc.property(recordsRuns, stamps, tokens, (run, stamp, before) => {
      const good = linked(run, stamp, before)
      verifyLinks(good, publicOf(before))
      verifyTokens(good, stamp)
      expect(publicIds(good)).toHaveLength(good.records.length)
    }),
  )
})

test('a view that was forced names the state before it itself, for nobody had its token', () => {
  fc.assert(
    fc.property(recordsRuns, stamps, tokens, (run, stamp, before) => {
      const [first] = run.records
      if (first?.kind !== 'view') return
      const forced = { ...first, flags: first.flags | FLAG_FORCE }
      const good = linked({ ...run, records: [forced, ...run.records.slice(1)] }, stamp, before)
      expect(VersionId.fromBytes(Token.toBytes(good.records[0]!.parent))).toBe(publicOf(before))
      const other = publicOf(Token.fromBytes(VersionId.toBytes(publicOf(before))))
      expect(() => verifyLinks(good, other)).toThrow(expect.objectContaining({ code: 'ERR_CHAIN_BROKEN' }))
    }),
    { numRuns: 1000 },
  )
})

test('a change of any covered field, of the stamp or of the history before breaks the chain', () => {
  fc.assert(
    fc.property(recordsRuns, stamps, tokens, fc.nat(), (run, stamp, before, at) => {
      const good = linked(run, stamp, before)
      const index = at % good.records.length
      const changed = good.records.map((record, i) =>
        i === index ? { ...record, requestSequence: record.requestSequence ^ 1n } : record,
      )
      const broken = expect.objectContaining({ code: 'ERR_CHAIN_BROKEN' })
      const session = SessionId.fromBytes(SessionId.toBytes(good.session).map((byte) => byte ^ 1))
      expect(() => verifyTokens({ ...good, records: changed }, stamp)).toThrow(broken)
      expect(() => verifyTokens({ ...good, session }, stamp)).toThrow(broken)
      expect(() =>
        verifyTokens(
          { ...good, epoch: { ...good.epoch, counter: (good.epoch.counter + 1) % 2 ** 48 } },
          stamp,
        ),
      ).toThrow(broken)
      expect(() => verifyTokens({ ...good, lastPublic: VersionId.zero }, stamp)).toThrow(broken)
      expect(() => verifyTokens(good, Stamp.zero)).toThrow(broken)
      if (good.records[0]?.kind === 'create') {
        expect(() => verifyLinks({ ...good, volume: VolumeId.zero }, VersionId.zero)).toThrow(broken)
      } else {
        expect(() => verifyLinks(good, VersionId.zero)).toThrow(broken)
      }
    }),
  )
})

test('H is the first 20 bytes of SHA-256, over parts as over the whole', () => {
  expect(Buffer.from(hash160(Buffer.from('a'), Buffer.from('bc'))).toString('hex')).toBe(
    'ba7816bf8f01cfea414140de5dae2223b00361a3',
  )
})
