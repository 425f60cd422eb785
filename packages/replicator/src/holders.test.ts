import { CloudfsError, HostId, type VolumeHolder, VolumeId } from '@cloudfs/interface'
import { expect, test } from 'vitest'
import type { EngineSupervisor } from './engine-supervisor.js'
import { type HolderRequest, Holders } from './holders.js'

const volume = VolumeId.parse('ab'.repeat(20))
const hostOf = (index: number) => HostId.parse(`1${String(index)}`.repeat(20))
const sessionOf = (index: number) => `0${String(index)}`.repeat(16)

class AttachmentChangedError extends CloudfsError {
  readonly code = 'ERR_ATTACHMENT_CHANGED'
}

/** The record as the engine of a primary has it. */
class Record {
  revision = 0
  holders: readonly VolumeHolder[] = []
  /** Done once before the next change, as if by somebody else. */
  meanwhile: (() => void) | undefined
  readonly of = new Holders({
    host: hostOf(0),
    engine: {
      result: () =>
        Promise.resolve([
          {
            volume,
            role: 'primary',
            serving: true,
            attach: { revision: this.revision, holders: this.holders },
          },
        ]),
      call: (_verb: string, args: { holders: readonly VolumeHolder[]; after: number }) => {
        this.meanwhile?.()
        this.meanwhile = undefined
        if (args.after !== this.revision) return Promise.reject(new AttachmentChangedError('changed'))
        this.revision++
        this.holders = args.holders
        return Promise.resolve({})
      },
    } as unknown as EngineSupervisor,
    wayFor: () => Promise.reject(new Error('nobody asks')),
  })

  attach(index: number, request: Partial<HolderRequest> = {}): Promise<void> {
    const plain = {
      host: hostOf(index),
      socket: '/s',
      isShared: false,
      session: sessionOf(index),
      take: false,
    }
    return this.of.attach(volume, { ...plain, ...request })
  }

  get sessions(): string[] {
    return this.holders.map(({ session }) => session)
  }
}

test('one host at a time has a volume for itself, and the refusal names it', async () => {
  const record = new Record()
  const asked = await Promise.allSettled([1, 2].map((index) => record.attach(index)))
  expect(asked.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  const error = { code: 'ERR_VOLUME_ATTACHED', details: { holder: hostOf(1) } }
  await expect(record.attach(2, { isShared: true })).rejects.toMatchObject(error)
  await expect(record.of.whileFree(volume, () => Promise.resolve())).rejects.toMatchObject(error)
  await record.of.release(volume, hostOf(1))
  await expect(record.of.release(volume, hostOf(1))).rejects.toMatchObject({ code: 'ERR_NOT_ATTACHED' })
  await record.attach(2)
})

test('what is asked for twice is done once; the session of an endpoint that lives goes on', async () => {
  const record = new Record()
  await record.attach(1)
  await record.attach(1)
  await record.attach(1, { session: sessionOf(8), current: sessionOf(1) })
  expect(record).toMatchObject({ revision: 1, sessions: [sessionOf(1)] })
  await record.attach(1, { session: sessionOf(8), current: sessionOf(1), isShared: true })
  expect(record).toMatchObject({ revision: 2, sessions: [sessionOf(1)] })
})

test('a session that has ended is replaced, and only for who is in the record', async () => {
  const record = new Record()
  const again = { isShared: undefined }
  await expect(record.attach(1, again)).rejects.toMatchObject({ code: 'ERR_NOT_ATTACHED' })
  await record.attach(1, { isShared: true })
  await record.attach(1, { ...again, session: sessionOf(7), current: sessionOf(6) })
  expect(record.holders).toMatchObject([{ session: sessionOf(7), isShared: true }])
  record.holders = record.holders.map((holder) => ({ ...holder, session: '0'.repeat(32) }))
  await record.attach(1, { ...again, session: sessionOf(9), current: '0'.repeat(32) })
  expect(record.sessions).toEqual([sessionOf(9)])
})

test('whoever takes a volume leaves out those in the way, and nobody else', async () => {
  const record = new Record()
  await record.attach(1, { isShared: true })
  await record.attach(2, { isShared: true })
  await record.attach(3, { isShared: true, take: true })
  expect(record.sessions).toEqual([1, 2, 3].map(sessionOf))
  await record.attach(3, { take: true })
  expect(record.sessions).toEqual([sessionOf(3)])
})

test('a record that changes meanwhile is judged anew', async () => {
  const record = new Record()
  record.meanwhile = () => {
    record.revision++
    record.holders = [{ host: hostOf(2), session: sessionOf(2), isShared: false, socket: '/s' }]
  }
  await expect(record.attach(1)).rejects.toMatchObject({ details: { holder: hostOf(2) } })
  expect(record.sessions).toEqual([sessionOf(2)])
})

test('no more hosts share a volume than its record holds', async () => {
  const record = new Record()
  record.holders = Array.from({ length: 64 }, (_, index) => ({
    host: HostId.parse((100 + index).toString(16).padStart(40, '0')),
    session: sessionOf(1),
    isShared: true,
    socket: '/s',
  }))
  await expect(record.attach(1, { isShared: true })).rejects.toMatchObject({ code: 'ERR_TOO_MANY_HOLDERS' })
})
