import { expect, test } from 'vitest'
import { HostKey, hostIdOf, PEER_LIMITS } from './index.js'
import { Roster } from './roster.js'
import { info, MemoryBook } from './testing/nodes.js'

function rosterOf(key: HostKey, wallMs: number, book = new MemoryBook()) {
  const clock = { monotonicMs: () => 0, wallMs: () => wallMs }
  return new Roster({ key, hostId: hostIdOf(key.publicKey), info, book, clock, limits: PEER_LIMITS })
}

test('a host whose clock was set back outdoes what others remember of it', () => {
  const key = HostKey.generate()
  const before = rosterOf(key, 2_000_000).own
  const after = rosterOf(key, 1_000_000)
  expect(after.own.announcement.revision).toBe(1_000_000)
  after.learn([before.signed])
  expect(after.own.announcement.revision).toBe(2_000_001)
  after.learn([before.signed])
  expect(after.own.announcement.revision).toBe(2_000_001)
})

test('only what is another becomes news', () => {
  const roster = rosterOf(HostKey.generate(), 1_000)
  const { revision } = roster.own.announcement
  roster.update(info, [])
  expect(roster.own.announcement.revision).toBe(revision)
  roster.update({ ...info, draining: true }, [])
  expect(roster.own.announcement.revision).toBe(revision + 1)
})

test('a book with an entry that was tampered with costs that entry alone', async () => {
  const [one, two] = [rosterOf(HostKey.generate(), 1), rosterOf(HostKey.generate(), 1)]
  const book = new MemoryBook()
  for (const { own } of [one, two]) {
    const { hostId, publicKey } = own.announcement
    await book.save({ hostId, publicKey, announcement: own.signed })
  }
  const entry = book.hosts.get(one.hostId)!
  await book.save({
    ...entry,
    announcement: { ...entry.announcement, text: entry.announcement.text.replace('0.1.0', '6.6.6') },
  })
  const roster = rosterOf(HostKey.generate(), 1, book)
  const rejected: unknown[] = []
  roster.on('rejected', (error) => rejected.push(error))
  await roster.load()
  expect(roster.members().map((member) => member.announcement.hostId)).toEqual([two.hostId])
  expect(rejected).toEqual([expect.objectContaining({ code: 'ERR_PEER_PROTOCOL' })])
})

test('a host met first is saved, and again when its addresses change', async () => {
  const book = new MemoryBook()
  const roster = rosterOf(HostKey.generate(), 1, book)
  const key = HostKey.generate()
  const other = rosterOf(key, 1)
  await roster.meet(other.own.signed, key.publicKey)
  expect(book.hosts.get(other.hostId)?.announcement).toEqual(other.own.signed)
  other.update({ ...info, draining: true }, [])
  roster.learn([other.own.signed])
  expect(book.hosts.get(other.hostId)?.announcement).not.toEqual(other.own.signed)
  other.update(info, ['/ip4/192.0.2.1/tcp/1'])
  roster.learn([other.own.signed])
  expect(book.hosts.get(other.hostId)?.announcement).toEqual(other.own.signed)
})
