/**
 * One node of two real processes, commanded as an operator does: what is attached stays attached and whole, whichever
 * half is killed.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'

const run = promisify(execFile)
const program = new URL('../../packages/cli/bin/cloudfs.js', import.meta.url).pathname
const patience = { timeout: 60_000, interval: 100 }

interface Place {
  readonly httpPort: number
  readonly directory: string
  readonly enginePid?: number
  readonly replicatorPid?: number
}

let directory: string
let node: Place

async function cloudfs(...args: string[]): Promise<string> {
  const environment = { ...process.env, CLOUDFS_NODE: `127.0.0.1:${String(node.httpPort)}` }
  return (await run(process.execPath, [program, ...args], { env: environment })).stdout.trim()
}

async function dev(...args: string[]): Promise<Place[]> {
  const { stdout } = await run(process.execPath, [program, 'dev', ...args, '--dir', directory, '--json'])
  return stdout === '' ? [] : (JSON.parse(stdout) as Place[])
}

const only = (places: Place[]): Place => places[0]!

async function qemuIo(uri: string, ...commands: string[]): Promise<string> {
  const flags = commands.flatMap((command) => ['-c', command])
  const { stdout, stderr } = await run('qemu-io', ['-f', 'raw', ...flags, uri])
  return stdout + stderr
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cloudfs-e2e-'))
  node = only(await dev('up', '--nodes', '1'))
}, 120_000)

afterAll(async () => {
  await dev('down')
  rmSync(directory, { recursive: true })
}, 120_000)

test('a disk is made, attached, written, branched and deleted by command', { timeout: 120_000 }, async () => {
  const volume = await cloudfs('newdisk', '1', '--size', '64M', '--name', 'first')
  expect(volume).toMatch(/^[0-9a-f]{40}$/)
  const uri = await cloudfs('attach', 'first')
  await qemuIo(uri, 'write -P 7 0 1M', 'flush')

  const info = join(node.directory, 'run', `${volume}.info`)
  const { version } = JSON.parse(await cloudfs('info', 'first', '--json')) as { version: string }
  await vi.waitFor(() => {
    expect(readFileSync(info, 'utf8').trim()).toBe(version)
  }, patience)

  const branch = await cloudfs('branch', version, '--name', 'second')
  const branchUri = await cloudfs('attach', branch)
  expect(await qemuIo(branchUri, 'read -P 7 0 1M')).not.toMatch(/failed/)
  await qemuIo(branchUri, 'write -P 9 0 1M')
  expect(await qemuIo(uri, 'read -P 7 0 1M')).not.toMatch(/failed/)

  await expect(cloudfs('deletedisk', branch)).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining('ERR_VOLUME_ATTACHED'),
  })
  await cloudfs('detach', branch)
  await cloudfs('deletedisk', branch)
  expect(await cloudfs('ls')).not.toContain(branch)
})

test(
  'killing the replicator stops no I/O, and the next one finds everything',
  { timeout: 120_000 },
  async () => {
    const uri = await cloudfs('attach', 'first')
    const before = only(await dev('ls'))
    await dev('kill', '1', '--replicator')
    await qemuIo(uri, 'write -P 8 1M 1M', 'read -P 8 1M 1M', 'flush')
    await dev('start', '1')
    expect(only(await dev('ls')).enginePid).toBe(before.enginePid)
    expect(await cloudfs('attach', 'first')).toBe(uri)
  },
)

test(
  'an engine that is killed comes back by itself, with its attachments',
  { timeout: 120_000 },
  async () => {
    const uri = await cloudfs('attach', 'first')
    await dev('kill', '1', '--engine')
    await vi.waitFor(async () => {
      expect(await qemuIo(uri, 'read -P 8 1M 1M')).not.toMatch(/failed/)
    }, patience)
  },
)

test(
  'a node that is killed whole and started again serves what was flushed at the same socket',
  {
    timeout: 120_000,
  },
  async () => {
    const uri = await cloudfs('attach', 'first')
    await dev('kill', '1')
    await dev('start', '1')
    expect(await qemuIo(uri, 'read -P 7 0 1M', 'read -P 8 1M 1M')).not.toMatch(/failed/)
  },
)
