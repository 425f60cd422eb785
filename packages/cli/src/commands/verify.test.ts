import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fromDeviceImage, makeGoldenStore, type MemoryMedium, toDeviceImage } from '@cloudfs/format/testing'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { main } from '../index.js'

/** Runs the command line and keeps what it says. */
async function run(args: string[], isTTY = false): Promise<{ code: number; output: string; errors: string }> {
  const output = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  const errors = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  const { isTTY: before } = process.stderr
  process.stderr.isTTY = isTTY
  const code = await main(args)
  process.stderr.isTTY = before
  const said = (write: typeof output): string => write.mock.calls.map(([text]) => String(text)).join('')
  const result = { code, output: said(output), errors: said(errors) }
  output.mockRestore()
  errors.mockRestore()
  process.exitCode = undefined
  return result
}

let scratch: string
beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'cloudfs-verify-'))
})
afterEach(async () => {
  await rm(scratch, { recursive: true })
})

async function writeDirectory(medium: MemoryMedium): Promise<string> {
  const path = join(scratch, 'store')
  await mkdir(join(path, 'segments'), { recursive: true })
  await writeFile(join(path, 'superblock'), medium.superblocks)
  for (const [physical, bytes] of medium.segments) {
    await writeFile(join(path, 'segments', `${physical.toString(16).padStart(8, '0')}.seg`), bytes)
  }
  return path
}

async function writeDevice(medium: MemoryMedium): Promise<string> {
  const path = join(scratch, 'store.img')
  await writeFile(path, toDeviceImage(medium))
  return path
}

/** A process that holds the lock as an engine does. */
async function holdLock(path: string): Promise<() => Promise<void>> {
  const child = spawn('flock', ['--exclusive', '--nonblock', path, 'sh', '-c', 'echo held; read _'])
  await once(child.stdout, 'data')
  return async () => {
    child.stdin.end()
    await once(child, 'close')
  }
}

test.each([
  ['a directory', writeDirectory],
  ['one big file', writeDevice],
])('a sound store in %s exits with 0 and lists volumes and heads', async (_, write) => {
  const path = await write(makeGoldenStore())
  const { code, output, errors } = await run(['verify', '--store', path])
  expect(code).toBe(0)
  expect(output).toMatch(/^volume .* "disk" 1\.17 MiB, lsn 7, head [0-9a-f]{40}$/m)
  expect(output).toMatch(/snapshot "monday"/)
  expect(output).toMatch(/\nsound\n$/)
  expect(errors).toBe('')
})

test('a damaged block exits with 1 and is told with its code and place', async () => {
  const medium = fromDeviceImage(toDeviceImage(makeGoldenStore()))
  medium.flip(0, 3 * 4096 + 5)
  const path = await writeDirectory(medium)
  const { code, output } = await run(['verify', '--store', path, '--json'])
  expect(code).toBe(1)
  const report = JSON.parse(output) as {
    findingCount: number
    findings: unknown[]
    volumes: unknown[]
  }
  expect(report.findings).toMatchObject([
    { code: 'ERR_BLOCK_CORRUPT', details: { physical: 0, offset: 3 * 4096 } },
  ])
  expect(report.volumes).toHaveLength(2)
})

test('a verification changes nothing in the store', async () => {
  const path = await writeDirectory(makeGoldenStore())
  const before = await readdir(path, { recursive: true })
  const bytes = await readFile(join(path, 'superblock'))
  await run(['verify', '--store', path])
  expect(await readdir(path, { recursive: true })).toEqual(before)
  expect(await readFile(join(path, 'superblock'))).toEqual(bytes)
})

test('progress is shown on stderr where that is a terminal, and taken away', async () => {
  const path = await writeDirectory(makeGoldenStore())
  const { code, errors } = await run(['verify', '--store', path], true)
  expect(code).toBe(0)
  expect(errors).toMatch(/reading checkpoint and log/)
  expect(errors.endsWith('\r\x1b[K')).toBe(true)
})

test.each([
  ['a directory', writeDirectory, 'lock'],
  ['one big file', writeDevice, ''],
])('the store of a running node, in %s, is refused until the node stops', async (_, write, lockName) => {
  const path = await write(makeGoldenStore())
  if (lockName !== '') await writeFile(join(path, lockName), '')
  const release = await holdLock(join(path, lockName))
  const { code, errors } = await run(['verify', '--store', path])
  expect(code).toBe(2)
  expect(errors).toMatch(/ERR_STORE_LOCKED/)
  await release()
  expect((await run(['verify', '--store', path])).code).toBe(0)
})

test.each([
  ['nothing', () => Promise.resolve(join(scratch, 'nowhere')), 'ERR_STORE_NOT_FOUND'],
  ['a directory that is no store', () => Promise.resolve(scratch), 'ERR_STORE_NOT_FOUND'],
  [
    'a file that is no store',
    async () => {
      await writeFile(join(scratch, 'x'), 'x'.repeat(9000))
      return join(scratch, 'x')
    },
    'ERR_STORE_CORRUPT',
  ],
])('%s exits with 2 and a code', async (_, place, name) => {
  const { code, errors } = await run(['verify', '--store', await place()])
  expect(code).toBe(2)
  expect(errors).toContain(name)
})
