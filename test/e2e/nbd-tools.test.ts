/**
 * One host, real clients. Each test starts the real engine process on a fresh store, and lets NBD programs that nobody
 * here wrote use its volume: what they read back is what counts.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { EngineHost, nbdUri } from './support/engine-process.js'
import { runTool } from './support/run-tool.js'

const MIB = 1024 * 1024
const SIZE = 64 * MIB
const TIMEOUT_MS = 120_000

describe.each([
  ['a directory', false],
  ['a big file', true],
])('on a store in %s', (_kind, file) => {
  let host: EngineHost
  let uri: string

  beforeEach(async () => {
    host = new EngineHost()
    await host.format({ size: '512M', segmentSize: '4M', file })
    await host.start()
    uri = nbdUri(await host.serve(await host.createVolume(SIZE)))
  }, TIMEOUT_MS)

  afterEach(() => host.dispose())

  test('nbdinfo sees size, features and a map of holes', { timeout: TIMEOUT_MS }, async () => {
    const info = JSON.parse((await runTool('nbdinfo', '--json', uri)).stdout) as {
      exports: Record<string, unknown>[]
    }
    expect(info.exports[0]).toMatchObject({
      'export-size': SIZE,
      is_read_only: false,
      can_multi_conn: true,
      can_flush: true,
      can_fua: true,
      can_trim: true,
      can_zero: true,
      can_df: true,
      can_cache: true,
      can_fast_zero: true,
      contexts: ['base:allocation'],
      block_size_minimum: 1,
      block_size_preferred: 4096,
      block_size_maximum: 32 * MIB,
    })
    await runTool('qemu-io', '-f', 'raw', '-c', 'write -P 1 1M 2M', uri)
    const map = JSON.parse((await runTool('nbdinfo', '--map', '--json', uri)).stdout) as unknown
    expect(map).toEqual([
      { offset: 0, length: MIB, type: 3, description: 'hole,zero' },
      { offset: MIB, length: 2 * MIB, type: 0, description: 'data' },
      { offset: 3 * MIB, length: SIZE - 3 * MIB, type: 3, description: 'hole,zero' },
    ])
  })

  test(
    'qemu-io reads back what it wrote, aligned or not, zeroed or discarded',
    { timeout: TIMEOUT_MS },
    async () => {
      const commands = [
        'write -P 0x11 0 1M',
        'write -P 0x22 513 5000',
        'read -P 0x11 0 513',
        'read -P 0x22 513 5000',
        'read -P 0x11 5513 100000',
        'write -P 0x33 4095 2',
        'read -P 0x33 4095 2',
        'read -P 0x22 4000 95',
        'read -P 0x22 4097 1000',
        'write -z 65536 8192',
        'read -P 0 65536 8192',
        'read -P 0x11 73728 4096',
        'write -z 100001 10001',
        'read -P 0 100001 10001',
        'read -P 0x11 98304 1697',
        'read -P 0x11 110002 4000',
        'discard 262144 131072',
        'read -P 0 262144 131072',
        'write -f -P 0x44 300001 1',
        'read -P 0x44 300001 1',
        'read -P 0 300002 4096',
        'aio_write -P 0x55 2M 64k',
        'aio_write -P 0x66 3M 64k',
        'aio_flush',
        'flush',
        'read -P 0x55 2M 64k',
        'read -P 0x66 3M 64k',
        `write -P 0x77 ${SIZE - 1} 1`,
        `read -P 0x77 ${SIZE - 1} 1`,
      ]
      const { stdout } = await runTool(
        'qemu-io',
        '-f',
        'raw',
        ...commands.flatMap((text) => ['-c', text]),
        uri,
      )
      expect(stdout).not.toMatch(/fail|error/i)
      expect(stdout.match(/^(read|wrote|discard) \d/gm)).toHaveLength(
        commands.filter((text) => /^(aio_)?(write|read|discard)/.test(text)).length,
      )
    },
  )

  test('nbdcopy takes an image in and gives it back, byte for byte', { timeout: TIMEOUT_MS }, async () => {
    const image = host.path('image')
    writeFileSync(image, randomBytes(10 * MIB + 4321))
    truncateSync(image, SIZE)
    await runTool('nbdcopy', '--flush', image, uri)
    await runTool('nbdcopy', uri, host.path('back'))
    await runTool('cmp', image, host.path('back'))
  })

  test(
    'qemu-img converts an ext4 image of real files onto it, and compares equal',
    { timeout: TIMEOUT_MS },
    async () => {
      const image = host.path('image')
      mkdirSync(host.path('files'))
      for (let i = 0; i < 200; i++) writeFileSync(host.path(`files/${i}`), randomBytes(i * 997))
      await runTool('truncate', `--size=${SIZE}`, image)
      await runTool('mkfs.ext4', '-q', '-d', host.path('files'), image)
      await runTool('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', image, uri)
      await runTool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', image, uri)
      await runTool('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', uri, host.path('back'))
      await runTool('fsck.ext4', '-fn', host.path('back'))
      await runTool('cmp', image, host.path('back'))
    },
  )

  test(
    'fio finds every block it wrote, at depth 32 with several connections',
    { timeout: TIMEOUT_MS },
    async () => {
      await runTool(
        'fio',
        '--name=verify',
        '--ioengine=nbd',
        `--uri=${uri}`,
        '--rw=randwrite',
        '--bsrange=512-64k',
        '--blockalign=512',
        '--iodepth=32',
        '--numjobs=2',
        '--size=24M',
        '--offset_increment=32M',
        '--fsync=64',
        '--verify=crc32c',
        '--verify_fatal=1',
        '--verify_state_save=0',
        '--group_reporting',
      )
    },
  )
})

test(
  'a snapshot is served read-only beside its volume, and stays as it was',
  { timeout: TIMEOUT_MS },
  async () => {
    const host = new EngineHost()
    try {
      await host.format({ size: '512M', segmentSize: '4M' })
      await host.start()
      const volume = await host.createVolume(SIZE)
      const socket = await host.serve(volume)
      await runTool('qemu-io', '-f', 'raw', '-c', 'write -P 1 0 1M', nbdUri(socket))
      await host.client.call('snapshot', { volume, name: 'before' })
      await runTool('qemu-io', '-f', 'raw', '-c', 'write -P 2 0 64k', nbdUri(socket))
      const snapshot = nbdUri(socket, `${volume}@before`)
      await runTool('qemu-io', '-r', '-f', 'raw', '-c', 'read -P 1 0 1M', snapshot)
      await runTool(
        'qemu-io',
        '-f',
        'raw',
        '-c',
        'read -P 2 0 64k',
        '-c',
        'read -P 1 64k 64k',
        nbdUri(socket),
      )
      const info = (await runTool('nbdinfo', '--json', snapshot)).stdout
      expect(JSON.parse(info)).toMatchObject({ exports: [{ is_read_only: true }] })
    } finally {
      await host.dispose()
    }
  },
)
