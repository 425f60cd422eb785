/** Images in and out of disks, by command: sparse, resumable, careful with files that exist. */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, openSync, readFileSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, PATIENCE } from './support/cluster.js'
import { runTool } from './support/run-tool.js'

const MIB = 1024 * 1024
const IMAGE_BYTES = 96 * MIB
const options = { timeout: 120_000 }
/** Small windows: an interruption comes between two of them. */
const windowed = ['--window', '1M']

let cluster: Cluster
let image: string

beforeAll(async () => {
  cluster = await new Cluster().up(1)
  image = cluster.path('image.raw')
  writeFileSync(image, randomBytes(2 * MIB))
  truncateSync(image, IMAGE_BYTES)
  const fd = openSync(image, 'r+')
  // Something in each window, most of it holes.
  for (let at = 0; at < IMAGE_BYTES; at += MIB) writeSync(fd, randomBytes(4096), 0, 4096, at + 8192)
}, 120_000)
afterAll(() => cluster.dispose(), 120_000)

const diskBytes = (path: string): number => statSync(path).blocks * 512

interface TransferState {
  readonly doneBytes: number
}

function stateAt(path: string): TransferState | undefined {
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as TransferState) : undefined
}

test(
  'an image goes in and out as raw and as qcow2, byte for byte, and holes stay holes',
  options,
  async () => {
    const volume = await cluster.cloudfs('import', image, '--replicas', '1', '--name', 'whole')
    expect(volume).toMatch(/^[0-9a-f]{40}$/)
    await cluster.cloudfs('export', 'whole', 'back.raw')
    await runTool('cmp', image, cluster.path('back.raw'))
    expect(diskBytes(cluster.path('back.raw'))).toBeLessThan(diskBytes(image) + 2 * MIB)
    await cluster.cloudfs('export', 'whole', 'back.qcow2', '--format', 'qcow2')
    await runTool('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', image, cluster.path('back.qcow2'))
    await runTool('qemu-img', 'check', '-q', cluster.path('back.qcow2'))

    const again = await cluster.cloudfs('import', 'back.qcow2', '--replicas', '1', '--name', 'again')
    await cluster.cloudfs('export', again, 'again.raw')
    await runTool('cmp', image, cluster.path('again.raw'))

    const info = await cluster.cloudfs('info', 'whole')
    expect(info).toMatch(/^attached +no$/m)
    expect(info).not.toMatch(/^snapshot/m)
  },
)

test.each(['SIGINT', 'SIGKILL'] as const)(
  'an export ended by %s goes on where it stopped, with the disk as it was when it began',
  options,
  async (signal) => {
    const disk = await cluster.attach('whole')
    const name = `${signal}.raw`
    const first = cluster.start(`cloudfs export whole ${name} ${windowed.join(' ')}`)
    const ended = once(first, 'close')
    const state = cluster.path(`${name}.part.json`)
    await expect.poll(() => stateAt(state)?.doneBytes ?? 0, PATIENCE).toBeGreaterThan(2 * MIB)
    first.kill(signal)
    expect(await ended).toEqual(signal === 'SIGINT' ? [130, null] : [null, signal])
    expect(existsSync(cluster.path(name))).toBe(false)
    const { doneBytes = 0 } = stateAt(state) ?? {}
    expect(doneBytes).toBeLessThan(IMAGE_BYTES)

    // What is written meanwhile belongs to a later state than the one that is exported.
    await runTool('qemu-io', '-f', 'raw', '-c', 'write -P 0xee 80M 1M', '-c', 'flush', disk.uri)
    await cluster.cloudfs('export', 'whole', name)
    await runTool('qemu-io', '-f', 'raw', '-c', 'write -z 80M 1M', disk.uri)
    const source = readFileSync(image).subarray(80 * MIB, 80 * MIB + 12_288)
    writeFileSync(cluster.path('source'), source)
    await runTool('qemu-io', '-f', 'raw', '-c', `write -s ${cluster.path('source')} 80M 12k`, disk.uri)

    await runTool('cmp', image, cluster.path(name))
    expect(existsSync(state)).toBe(false)
    const info = await cluster.cloudfs('info', 'whole')
    // It was attached before, and stays so.
    expect(info).toMatch(/^attached +at /m)
    expect(info).not.toMatch(/^snapshot/m)
  },
)

test('an import that is killed goes on into the same disk', options, async () => {
  const before = JSON.parse(await cluster.cloudfs('ls', '--json')) as { volume: string }[]
  const first = cluster.start(`cloudfs import ${image} --replicas 1 --name resumed ${windowed.join(' ')}`)
  const ended = once(first, 'close')
  const stateFile = (): string | undefined => {
    const found = spawnSync('find', [cluster.path('state'), '-name', 'import-*.json'], { encoding: 'utf8' })
    return found.stdout.trim().split('\n')[0]
  }
  await expect.poll(() => stateAt(stateFile() ?? '')?.doneBytes ?? 0, PATIENCE).toBeGreaterThan(2 * MIB)
  first.kill('SIGKILL')
  await ended
  const volume = await cluster.cloudfs('import', image, '--replicas', '1', '--name', 'resumed')
  const after = JSON.parse(await cluster.cloudfs('ls', '--json')) as { volume: string; name: string }[]
  expect(after.length).toBe(before.length + 1)
  expect(after.find((each) => each.volume === volume)?.name).toBe('resumed')
  await cluster.cloudfs('export', volume, 'resumed.raw')
  await runTool('cmp', image, cluster.path('resumed.raw'))
  expect(await cluster.cloudfs('info', volume)).toMatch(/^attached +no$/m)
})

test('a file that exists is overwritten only with --force, and what is no file never', options, async () => {
  const path = cluster.path('precious')
  writeFileSync(path, 'precious')
  const refused = { code: 1, stderr: expect.stringContaining('ERR_FILE_EXISTS') }
  await expect(cluster.cloudfs('export', 'whole', 'precious')).rejects.toMatchObject(refused)
  expect(readFileSync(path, 'utf8')).toBe('precious')
  await expect(cluster.cloudfs('export', 'whole', '/dev/null', '--force')).rejects.toMatchObject(refused)
  await cluster.cloudfs('export', 'whole', 'precious', '--force')
  expect(statSync(path).size).toBe(IMAGE_BYTES)
})

test.each([
  ['an image that is not there', ['import', 'nowhere'], 2, 'ERR_USAGE'],
  ['a volume that is not there', ['export', 'nothing', 'x'], 1, 'ERR_UNKNOWN_VOLUME'],
  ['a snapshot that is not there', ['export', 'whole@never', 'x'], 1, 'ERR_UNKNOWN_SNAPSHOT'],
  ['a format that is none', ['export', 'whole', 'x', '--format', 'vhd'], 2, 'ERR_USAGE'],
  ['a directory that is not there', ['export', 'whole', 'no/where'], 2, 'ERR_USAGE'],
  ['a window that is no size', ['export', 'whole', 'x', '--window', '1000'], 2, 'ERR_USAGE'],
])('%s is refused with its code, and leaves nothing behind', options, async (_, args, code, name) => {
  await expect(cluster.cloudfs(...args)).rejects.toMatchObject({
    code,
    stderr: expect.stringContaining(name),
  })
  expect(existsSync(cluster.path('x'))).toBe(false)
  expect(existsSync(cluster.path('x.part'))).toBe(false)
})

test(
  'a stopped node’s disk is exported from its store, and a running one’s is refused',
  options,
  async () => {
    const store = `${cluster.first.directory}/store`
    await expect(cluster.cloudfs('export', 'whole', 'stopped.raw', '--store', store)).rejects.toMatchObject({
      stderr: expect.stringContaining('ERR_STORE_LOCKED'),
    })
    await cluster.stopNode(1)
    await cluster.cloudfs('export', 'whole', 'stopped.raw', '--store', store)
    await runTool('cmp', image, cluster.path('stopped.raw'))
    expect(diskBytes(cluster.path('stopped.raw'))).toBeLessThan(diskBytes(image) + 2 * MIB)
    await cluster.cloudfs('export', 'whole', 'stopped.qcow2', '--store', store, '--format', 'qcow2')
    await runTool('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', image, cluster.path('stopped.qcow2'))
  },
)
