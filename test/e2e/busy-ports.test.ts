/** A node whose ports another program has: it says which, and ends with all that it has started. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'

const PROGRAM = new URL('../../packages/cli/bin/cloudfs.js', import.meta.url).pathname
const PORTS = ['http', 'engine-http', 'peer', 'nbd']

const directory = mkdtempSync(join(tmpdir(), 'cloudfs-e2e-'))
let stranger: Server
beforeAll(async () => {
  stranger = createServer((socket) => socket.destroy())
  await new Promise<void>((listening) => stranger.listen(0, '127.0.0.1', listening))
})
afterAll(() => {
  stranger.close()
  rmSync(directory, { recursive: true, force: true })
})

test.each(PORTS)('a node whose %s port is in use says so, and leaves nothing running', async (taken) => {
  const { port } = stranger.address() as AddressInfo
  const place = join(directory, taken)
  const ports = PORTS.map((each) => `--${each}-port=${String(each === taken ? port : 0)}`)
  const args = [`--directory=${place}`, '--store-size=64M', '--segment-size=1M', ...ports]
  const started = promisify(execFile)(process.execPath, [PROGRAM, 'replicator', ...args])
  const name = taken === 'peer' ? 'ERR_PEER_LISTEN' : 'ERR_ADDRESS_IN_USE'
  await expect(started).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringMatching(new RegExp(`${name}.*\\b${String(port)}\\b`)),
  })
  expect(processesThatName(place)).toEqual([])
})

/** The process ids of whoever was given this path. */
function processesThatName(path: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(path)
    } catch {
      // It ended meanwhile.
      return false
    }
  })
}
