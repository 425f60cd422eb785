import type { HostId } from '@cloudfs/interface'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Announcement, HostInfo, signAnnouncement, verifyAnnouncement } from './announcement.js'
import { HostKey } from './index.js'

const key = HostKey.generate()
const id = fc.uint8Array({ minLength: 20, maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString('hex'))

const announcements = fc
  .record({
    hostId: id,
    revision: fc.maxSafeNat(),
    addresses: fc.array(
      fc.integer({ min: 1, max: 65535 }).map((port) => `/ip4/192.0.2.1/tcp/${String(port)}`),
      { maxLength: 16 },
    ),
    zone: fc.constantFrom('', 'east', 'berlin/rack-4/shelf_2'),
    draining: fc.boolean(),
    stores: fc.array(fc.record({ storeId: id, capacityBytes: fc.maxSafeNat(), freeBytes: fc.maxSafeNat() }), {
      maxLength: 64,
    }),
    httpPort: fc.nat(65535),
    enginePort: fc.nat(65535),
    version: fc.string({ maxLength: 64 }),
  })
  .map((each) => ({ ...each, publicKey: Buffer.from(key.publicKey).toString('hex') }) as Announcement)

test('what a host signed reads back', () => {
  fc.assert(
    fc.property(announcements, (announcement) => {
      expect(verifyAnnouncement(signAnnouncement(announcement, key))).toEqual(announcement)
    }),
  )
})

test('a changed character, or the signature of another host, is found out', () => {
  fc.assert(
    fc.property(announcements, fc.nat(), (announcement, at) => {
      const signed = signAnnouncement(announcement, key)
      const place = at % signed.text.length
      const changed = signed.text[place] === '1' ? '2' : '1'
      const text = signed.text.slice(0, place) + changed + signed.text.slice(place + 1)
      const malformed = expect.objectContaining({ code: 'ERR_PEER_PROTOCOL' })
      expect(() => verifyAnnouncement({ ...signed, text })).toThrow(malformed)
      const other = signAnnouncement(announcement, HostKey.generate())
      expect(() => verifyAnnouncement(other)).toThrow(malformed)
    }),
  )
})

test('any other text is refused as malformed, without a crash', () => {
  const signature = '0'.repeat(128)
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      expect(() => verifyAnnouncement({ text, signature })).toThrow(
        expect.objectContaining({ code: 'ERR_PEER_PROTOCOL' }),
      )
    }),
  )
})

test('fields of a later version are kept by the signature and passed over', () => {
  const [announcement] = fc.sample(announcements, 1)
  const signed = signAnnouncement({ ...announcement!, colour: 'green' } as Announcement, key)
  expect(verifyAnnouncement(signed)).toEqual(announcement)
})

test('what is not news is not checked', () => {
  const [announcement] = fc.sample(announcements, 1)
  const forged = { ...signAnnouncement(announcement!, key), signature: '0'.repeat(128) }
  expect(verifyAnnouncement(forged, () => false)).toBeUndefined()
})

test.each(['east//rack', '/east', 'east/', 'ea st', 'x'.repeat(256)])('%j is no zone', (zone) => {
  expect(
    HostInfo.safeParse({ zone, draining: false, stores: [], httpPort: 0, enginePort: 0, version: '' })
      .success,
  ).toBe(false)
})

test('a host id is lower-case hex', () => {
  const [announcement] = fc.sample(announcements, 1)
  const signed = signAnnouncement({ ...announcement!, hostId: 'A'.repeat(40) as HostId }, key)
  expect(() => verifyAnnouncement(signed)).toThrow(/host id/)
})
