/**
 * Damage where it hurts, in the stores of stopped engines: in a record's header, a block's bytes, a map page, the checkpoint,
 * the superblock. Goal: what is bad is EIO or a refusal with a code, never other bytes; all else reads as it was written;
 * `cloudfs verify` names the place; and what one replica lost another has. Method: the offline reader finds the places, one
 * bit is flipped, the real engine is started over it.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { VolumeId } from '@cloudfs/interface'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { EngineCluster } from './support/engine-cluster.js'
import { EngineHost, nbdUri } from './support/engine-process.js'
import { NbdClient } from './support/nbd-client.js'
import { flipBit, type Place, StorePlaces, superblockPlace } from './support/store-places.js'

const CLOUDFS = new URL('../../packages/cli/bin/cloudfs.js', import.meta.url).pathname
const BLOCK = 4096
const MIB = 1024 * 1024
const options = { timeout: 120_000 }
/** Blocks of three leaves of the map, 256 to each. */
const FIRST_LEAF = range(0, 10)
const SECOND_LEAF = range(300, 10)
const THIRD_LEAF = range(520, 10)
/** Written behind the last checkpoint. */
const LATE = range(530, 4)
const ALL = [...FIRST_LEAF, ...SECOND_LEAF, ...THIRD_LEAF, ...LATE]
const VOLUME_BLOCKS = 600
const EIO = 5

function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => first + index)
}

const contentOf = (block: number): Buffer => Buffer.alloc(BLOCK, `block ${String(block)} `)

interface Verified {
  readonly code: number | null
  /** Findings, notes and errors, one to a line. */
  readonly said: string
}

function verify(path: string): Verified {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLOUDFS, 'verify', '--store', path], {
    encoding: 'utf8',
  })
  return { code: status, said: stdout + stderr }
}

/** What it printed. It may end with an error: that a command fails is what some tests want. */
function qemuIo(uri: string, ...commands: readonly string[]): string {
  const words = commands.flatMap((command) => ['-c', command])
  const isReading = commands.every((command) => command.startsWith('read'))
  const { stdout, stderr } = spawnSync(
    'qemu-io',
    [...(isReading ? ['-r'] : []), '-f', 'raw', ...words, uri],
    {
      encoding: 'utf8',
      maxBuffer: 16 * MIB,
    },
  )
  return stdout + stderr
}

/** As the messages of `verify` name a place. */
const named = ({ segment }: Place, offset: number): RegExp =>
  new RegExp(`segment ${String(segment)} .*at byte ${String(offset)}`)

const host = new EngineHost()
/** Ended cleanly; and the same killed, with `LATE` in its log alone. */
let stopped: { path: string; places: StorePlaces }
let killed: { path: string; places: StorePlaces }
let volume: VolumeId
let copies = 0

async function writeBlocks(blocks: readonly number[]): Promise<void> {
  const client = await NbdClient.connect(await host.serve(volume))
  for (const block of blocks) {
    await client.write(block * BLOCK, contentOf(block))
    await client.flush()
  }
  client.close()
}

async function kept(name: string): Promise<{ path: string; places: StorePlaces }> {
  const path = host.path(name)
  cpSync(host.path('store'), path, { recursive: true })
  return { path, places: await StorePlaces.open(path) }
}

/** A copy of a store with a bit flipped at each place. @returns its path */
function damaged(sound: string, ...places: readonly Place[]): string {
  const path = host.path(`damaged${String(++copies)}`)
  cpSync(sound, path, { recursive: true })
  for (const place of places) flipBit(path, place)
  return path
}

interface Served {
  readonly state: string
  readonly error?: { readonly code: string; readonly message: string }
  /** Blocks of `ALL` that read as errors; all others read as they were written. */
  readonly bad: readonly number[]
}

/** Starts an engine over a store and reads all that was ever written. */
async function serve(path: string): Promise<Served> {
  host.events.length = 0
  await host.start({ stores: [path] })
  try {
    const [status] = (await host.client.call('stores', {})).result
    if (status?.state !== 'ready') return { state: status?.state ?? 'none', bad: [], ...status }
    const client = await NbdClient.connect(await host.serve(volume))
    const bad: number[] = []
    for (const block of ALL) {
      const read: unknown = await client.read(block * BLOCK, BLOCK).catch((error: unknown) => error)
      if (Buffer.isBuffer(read)) {
        expect(read.equals(contentOf(block)), `block ${String(block)} is what was written`).toBe(true)
      } else {
        expect(read).toMatchObject({ errno: EIO })
        bad.push(block)
      }
    }
    client.close()
    return { state: status.state, bad }
  } finally {
    await host.end('SIGKILL')
  }
}

beforeAll(async () => {
  await host.format({ size: '8M', segmentSize: '64K' })
  await host.start()
  volume = await host.createVolume(VOLUME_BLOCKS * BLOCK)
  await writeBlocks([...FIRST_LEAF, ...SECOND_LEAF, ...THIRD_LEAF])
  await host.client.call('checkpoint', {})
  await writeBlocks(LATE)
  // Both from one state: a clean end writes a checkpoint.
  await host.end('SIGKILL')
  killed = await kept('killed')
  await host.start()
  await host.end('SIGTERM')
  stopped = await kept('stopped')
}, 60_000)
afterEach(() => host.end('SIGKILL'))
afterAll(() => host.dispose())

test(
  'a damaged block, map page and record header cost what they hold, and nothing else',
  options,
  async () => {
    const { path, places } = stopped
    expect(verify(path)).toMatchObject({ code: 0 })
    const [body, page, record] = [
      await places.block(volume, 5),
      await places.mapLeaf(volume, 300),
      await places.record(volume, 522),
    ]
    const store = damaged(path, body, page, record)
    const { code, said } = verify(store)
    expect(code).toBe(1)
    expect(said).toMatch(named(body, body.offset))
    expect(said).toMatch(/ERR_BLOCK_CORRUPT segment/)
    expect(said).toMatch(
      new RegExp(
        `ERR_PAGE_CORRUPT the page at segment ${String(page.segment)} at byte ${String(page.offset)} `,
      ),
    )
    expect(said).toMatch(named(record, record.batch))
    expect(said).toMatch(/ERR_BATCH_CORRUPT segment/)

    // The checkpoint covers that record: its header is not needed to read what it wrote.
    expect(await serve(store)).toMatchObject({ state: 'ready', bad: [5, ...SECOND_LEAF] })
    expect(host.events).toContainEqual(
      expect.objectContaining({
        event: 'block-corrupt',
        detail: { volume, block: 5, logical: body.segment, offset: body.offset },
      }),
    )
    expect(host.events).toContainEqual(
      expect.objectContaining({
        event: 'page-corrupt',
        detail: { level: 0, logical: page.segment, offset: page.offset },
      }),
    )
  },
)

test('a block that is written anew reads right again, and qemu-io sees EIO until then', options, async () => {
  const store = damaged(stopped.path, await stopped.places.block(volume, 5))
  await host.start({ stores: [store] })
  const uri = nbdUri(await host.serve(volume))
  expect(qemuIo(uri, 'read 20k 4k')).toContain('read failed: Input/output error')
  // Half of a block is the other half's business, too.
  expect(qemuIo(uri, 'write -P 7 20k 2k')).toContain('write failed: Input/output error')
  expect(qemuIo(uri, 'write -P 7 20k 4k', 'read -P 7 20k 4k')).not.toMatch(/fail|error/i)
})

test('a store with a damaged checkpoint is refused with the place, and left as it is', options, async () => {
  const page = stopped.places.checkpointPage()
  const store = damaged(stopped.path, page)
  const before = readFileSync(join(store, page.file))
  const where = `segment ${String(page.segment)} at byte ${String(page.offset)}`
  expect(verify(store)).toEqual({
    code: 2,
    said: `cloudfs: ERR_STORE_CORRUPT: the page at ${where} fails its checksum\n`,
  })
  expect(await serve(store)).toMatchObject({
    state: 'failed',
    error: {
      code: 'ERR_STORE_CORRUPT',
      message: `checkpoint page in segment ${String(page.segment)} at ${String(page.offset)} fails its checksum`,
    },
  })
  expect(readFileSync(join(store, page.file))).toEqual(before)
})

test(
  'one damaged copy of the superblock costs nothing, whichever it is; both are refused',
  options,
  async () => {
    const { path, places } = killed
    const newer = await places.newerSuperblock()
    for (const copy of [newer, 1 - newer]) {
      const store = damaged(path, superblockPlace(copy))
      const { code, said } = verify(store)
      expect(code).toBe(0)
      expect(said).toMatch(/note +ERR_SUPERBLOCK_CORRUPT/)
      expect(await serve(store)).toMatchObject({ state: 'ready', bad: [] })
    }
    const store = damaged(path, superblockPlace(0), superblockPlace(1))
    const { code, said } = verify(store)
    expect(code).toBe(2)
    expect(said).toContain('ERR_STORE_CORRUPT')
    await expect(host.start({ stores: [store] })).rejects.toThrow('ERR_STORE_CORRUPT')
  },
)

test(
  'a record to be replayed that is damaged ends the log, or is refused if it was synced',
  options,
  async () => {
    const { path, places } = killed
    const [first, , , last] = LATE
    const synced = await places.record(volume, first as number)
    const sequence = String(synced.sequence)
    const store = damaged(path, synced)
    const { code, said } = verify(store)
    expect(code).toBe(1)
    expect(said).toMatch(new RegExp(`ERR_STORE_CORRUPT batch ${sequence} is missing`))
    expect(await serve(store)).toMatchObject({
      state: 'failed',
      error: {
        code: 'ERR_STORE_CORRUPT',
        message: expect.stringContaining(`batch ${sequence} of the log`) as string,
      },
    })
    // Of the last batch nothing tells whether it was synced: it counts as torn, and the store is what it was before it.
    const torn = damaged(path, await places.record(volume, last as number))
    expect(verify(torn)).toMatchObject({ code: 0 })
    await host.start({ stores: [torn] })
    const client = await NbdClient.connect(await host.serve(volume))
    for (const block of ALL) {
      const expected = block === last ? Buffer.alloc(BLOCK) : contentOf(block)
      expect(await client.read(block * BLOCK, BLOCK)).toEqual(expected)
    }
    client.close()
    await host.end('SIGKILL')
  },
)

/**
 * Goal: a batch that a later start replayed cannot be missing. Method: a clean stop leaves one batch behind its checkpoint;
 * the next start writes on, and is killed; then that one batch is damaged.
 */
test(
  'a damaged batch that a later start went on from is refused, not the end of the log',
  options,
  async () => {
    const path = host.path('twice')
    cpSync(stopped.path, path, { recursive: true })
    await host.start({ stores: [path] })
    const client = await NbdClient.connect(await host.serve(volume))
    for (const block of range(540, 4)) {
      await client.write(block * BLOCK, contentOf(block))
      await client.flush()
    }
    client.close()
    await host.end('SIGKILL')
    const { store } = await StorePlaces.open(path)
    const first = store.log.batches[0]
    expect(first?.batch.sequence).toBe(store.checkpoint.store.replaySequence)
    const name = `${(first?.segment.physical ?? 0).toString(16).padStart(8, '0')}.seg`
    flipBit(path, { file: join('segments', name), offset: (first?.batch.offset ?? 0) + 16 })
    expect(verify(path).said).toContain('ERR_STORE_CORRUPT batch')
    expect(await serve(path)).toMatchObject({ state: 'failed', error: { code: 'ERR_STORE_CORRUPT' } })
  },
)

test('of three replicas, each damaged elsewhere, nothing is lost that another holds', options, async () => {
  const cluster = await EngineCluster.start(3, { size: '64M' })
  try {
    const id = await cluster.createVolume(4 * MIB)
    const write = range(0, 4).map((mib) => `write -P ${String(mib + 1)} ${String(mib)}M 1M`)
    const uri = async (): Promise<string> => nbdUri(await cluster.engine(0).serve(id))
    expect(qemuIo(await uri(), ...write, 'flush')).not.toMatch(/fail|error/i)
    await cluster.headsAreEqual()
    const stores = [0, 1, 2].map((index) => cluster.engine(index).path('store'))
    for (const index of [0, 1, 2]) await cluster.engine(index).end('SIGTERM')
    const places = await Promise.all(stores.map((path) => StorePlaces.open(path)))
    const expected = Buffer.concat(range(1, 4).map((byte) => Buffer.alloc(MIB, byte)))
    for (const each of places) expect((await each.contents(id)).equals(expected)).toBe(true)

    flipBit(stores[0] as string, await (places[0] as StorePlaces).block(id, 5))
    flipBit(stores[1] as string, await (places[1] as StorePlaces).mapLeaf(id, 300))
    flipBit(stores[2] as string, (places[2] as StorePlaces).checkpointPage())
    expect(stores.map((path) => verify(path).code)).toEqual([1, 1, 2])

    for (const index of [0, 1, 2]) await cluster.launch(index)
    const [third] = (await cluster.engine(2).client.call('stores', {})).result
    expect(third).toMatchObject({ state: 'failed', error: { code: 'ERR_STORE_CORRUPT' } })
    const { port } = (await cluster.engine(1).client.call('listen', { host: '127.0.0.1', port: 0 })).result
    const replica = `nbd://127.0.0.1:${String(port)}/replica:${id}`
    const leaf = 256 * BLOCK
    // A block is had from the other, a page of the map is not; neither reads anything else.
    expect(readable(await uri(), expected)).toEqual(range(0, 1024))
    expect(readable(replica, expected)).toEqual(
      range(0, 1024).filter((block) => block * BLOCK < leaf || block * BLOCK >= 2 * leaf),
    )
    // Two of three go on, and the block that is written anew is sound.
    const anew = ['write -P 9 20k 4k', 'flush', 'read -P 9 20k 4k', 'read -P 4 3M 1M']
    expect(qemuIo(await uri(), ...anew)).not.toMatch(/fail|error/i)
  } finally {
    await cluster.dispose()
  }
})

/** Blocks that qemu-io reads with the bytes expected; any other is to fail with EIO. */
function readable(uri: string, expected: Buffer): number[] {
  const blocks = range(0, expected.length / BLOCK)
  const reads = blocks.map((block) => {
    const byte = String(expected[block * BLOCK])
    return `read -P ${byte} ${String(block * BLOCK)} ${String(BLOCK)}`
  })
  const said = qemuIo(uri, ...reads)
  expect(said).not.toContain('Pattern verification failed')
  const good = [...said.matchAll(/^read 4096\/4096 bytes at offset (\d+)/gm)].map(
    ([, at]) => Number(at) / BLOCK,
  )
  expect(said.match(/read failed: Input\/output error/g) ?? []).toHaveLength(blocks.length - good.length)
  return good
}
