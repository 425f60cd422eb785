/** Reads and writes of a store's volumes by JavaScript, beside NBD. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { encodeCreate, stampHashOf } from '@cloudfs/format'
import { HostId, Stamp, StoreId, type VersionId, type VolumeId } from '@cloudfs/interface'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ACCESS_BYTES_MAX, StoreHandle } from './store-handle.js'

const identity = { store: StoreId.parse('01'.repeat(20)), host: HostId.parse('02'.repeat(20)) }
const stamp = Stamp.parse('77'.repeat(32))
const SIZE_BYTES = 8 * 1024 * 1024
let directory: string
let store: StoreHandle
let volume: VolumeId

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cloudfs-test-'))
  store = StoreHandle.create({
    path: join(directory, 'store'),
    params: { segmentLog2: 20, segmentLimit: 64 },
  })
  await store.format(identity)
  const payload = encodeCreate({
    sizeBytes: BigInt(SIZE_BYTES),
    mode: 'quorum',
    name: 'disk',
    nonce: new Uint8Array(16),
    view: {
      stampHash: stampHashOf(stamp),
      primary: identity.host,
      leaseMs: 500,
      members: [{ ...identity, role: 'data', slice: new Uint8Array() }],
    },
  })
  const { result } = await store.command('create', {
    stamp,
    payload: Buffer.from(payload).toString('hex'),
    epoch: { counter: 1, host: identity.host },
  })
  volume = result.volume
})

afterEach(async () => {
  await store.close()
  rmSync(directory, { recursive: true })
})

const pattern = (bytes: number, seed: number): Buffer =>
  Buffer.from(Uint8Array.from({ length: bytes }, (_, index) => (index * 7 + seed * 31 + (index >> 8)) & 0xff))

async function head(): Promise<VersionId | undefined> {
  return (await store.command('volumes', {})).result[0]?.version
}

test('what is written is read, at any offset, here and by NBD, and each answer names its version', async () => {
  const bytes = pattern(1_000_003, 1)
  const written = await store.write({ name: volume, offset: 4_097, bytes, fua: true })
  expect(written.version).toBe(await head())
  const read = await store.read({ name: 'disk', offset: 4_097, length: bytes.length })
  expect(read.version).toBe(written.version)
  expect(read.bytes.equals(bytes)).toBe(true)
  const around = await store.read({ name: volume, offset: 0, length: 4_097 })
  expect(around.bytes.equals(Buffer.alloc(4_097))).toBe(true)
  const socket = join(directory, 'nbd.sock')
  await store.listenUnix({ path: socket }, volume)
  const uri = `nbd+unix:///?socket=${socket}`
  await promisify(execFile)('qemu-io', ['-f', 'raw', '-c', 'write -P 9 8k 4k', uri])
  const after = await store.read({ name: volume, offset: 8_192, length: 4_096 })
  expect(after.bytes.equals(Buffer.alloc(4_096, 9))).toBe(true)
  expect(after.version).not.toBe(written.version)
})

test('a caller may use its bytes again at once', async () => {
  const bytes = Buffer.alloc(65_536, 1)
  const written = store.write({ name: volume, offset: 0, bytes })
  bytes.fill(2)
  await written
  const read = await store.read({ name: volume, offset: 0, length: 65_536 })
  expect(read.bytes.equals(Buffer.alloc(65_536, 1))).toBe(true)
})

test('of writes that expect the same version one is done, the others change nothing', async () => {
  const expected = await head()
  if (expected === undefined) throw new Error('no volume')
  const outcomes = await Promise.allSettled(
    Array.from({ length: 8 }, (_, index) =>
      store.write({ name: volume, offset: index * 100, bytes: Buffer.alloc(100, index + 1), expected }),
    ),
  )
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'ERR_VERSION_DIFFERS' })
  }
  const { bytes } = await store.read({ name: volume, offset: 0, length: 800 })
  expect(bytes.filter((byte) => byte !== 0)).toHaveLength(100)
})

test('what cannot be done is refused with its code', async () => {
  const code = (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => 'done',
      (error: unknown) => (error as { code: unknown }).code,
    )
  const bytes = Buffer.alloc(100)
  expect(await code(store.read({ name: 'disc', offset: 0, length: 1 }))).toBe('ERR_UNKNOWN_VOLUME')
  expect(await code(store.read({ name: volume, offset: SIZE_BYTES, length: 1 }))).toBe(
    'ERR_RANGE_UNSATISFIABLE',
  )
  expect(await code(store.write({ name: volume, offset: SIZE_BYTES - 99, bytes }))).toBe(
    'ERR_RANGE_UNSATISFIABLE',
  )
  await expect(store.read({ name: volume, offset: 0, length: ACCESS_BYTES_MAX + 1 })).rejects.toMatchObject({
    code: 'ERR_ARGUMENT',
  })
  await expect(
    store.write({ name: volume, offset: 0, bytes: Buffer.alloc(ACCESS_BYTES_MAX + 1) }),
  ).rejects.toMatchObject({ code: 'ERR_ARGUMENT' })
  const expected = await head()
  if (expected === undefined) throw new Error('no volume')
  const long = store.write({ name: volume, offset: 1, bytes: Buffer.alloc(ACCESS_BYTES_MAX - 1), expected })
  expect(await code(long)).toBe('ERR_UPDATE_TOO_LONG')
  await store.command('snapshot', { volume, name: 'then' })
  expect(await code(store.write({ name: 'disk@then', offset: 0, bytes }))).toBe('ERR_READ_ONLY')
})

test('past the bytes that may be in flight requests are refused, and room comes back', async () => {
  const read = { name: volume, offset: 0, length: ACCESS_BYTES_MAX }
  const outcomes = await Promise.allSettled(Array.from({ length: 64 }, () => store.read(read)))
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'ERR_TOO_MANY_REQUESTS' })
  }
  expect(outcomes.some(({ status }) => status === 'fulfilled')).toBe(true)
  expect((await store.read(read)).bytes).toHaveLength(ACCESS_BYTES_MAX)
})

test('closing rejects what is in flight', async () => {
  const bytes = Buffer.alloc(ACCESS_BYTES_MAX, 1)
  const work = Array.from({ length: 8 }, () => store.write({ name: volume, offset: 0, bytes, fua: true }))
  const closed = store.close()
  for (const outcome of await Promise.allSettled(work)) {
    if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'ERR_STORE_CLOSED' })
  }
  await closed
  await expect(store.read({ name: volume, offset: 0, length: 1 })).rejects.toMatchObject({
    code: 'ERR_STORE_CLOSED',
  })
})
