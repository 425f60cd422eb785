/** Goal: `cloudfs verify` and a real store of the shipped engine, on a real file system, one at a time. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { main } from '@cloudfs/cli'
import { encodeCreate, padPayload, stampHashOf } from '@cloudfs/format'
import { bytesToHex, HostId, Stamp, StoreId } from '@cloudfs/interface'
import { StoreHandle } from '@cloudfs/native'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

const identity = { store: StoreId.parse('01'.repeat(20)), host: HostId.parse('02'.repeat(20)) }
const params = { segmentLog2: 20, segmentLimit: 32 }

let scratch: string
beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'cloudfs-verify-'))
})
afterEach(async () => {
  await rm(scratch, { recursive: true })
})

async function verify(path: string): Promise<{ code: number; output: string; errors: string }> {
  const output = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  const errors = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  const code = await main(['--json', 'verify', '--store', path])
  const said = (write: typeof output): string => write.mock.calls.map(([text]) => String(text)).join('')
  const result = { code, output: said(output), errors: said(errors) }
  output.mockRestore()
  errors.mockRestore()
  process.exitCode = undefined
  return result
}

function createArguments(name: string): {
  stamp: string
  payload: string
  epoch: { counter: number; host: HostId }
} {
  const stamp = Stamp.parse('5a'.repeat(32))
  const payload = encodeCreate({
    sizeBytes: 2n ** 26n,
    mode: 'quorum',
    name,
    nonce: new Uint8Array(16).fill(3),
    view: {
      stampHash: stampHashOf(stamp),
      primary: identity.host,
      leaseMs: 500,
      members: [{ ...identity, role: 'data', slice: new Uint8Array() }],
    },
  })
  return { stamp, payload: bytesToHex(padPayload(payload)), epoch: { counter: 1, host: identity.host } }
}

test.each([
  ['a directory', {}],
  ['one big file', { fileBytes: 40 * 2 ** 20 }],
])('a store in %s is refused while the engine has it, and sound when it has stopped', async (_, place) => {
  const path = join(scratch, 'store')
  const handle = StoreHandle.create({ path, params, ...place })
  await handle.format(identity)
  const made = await handle.command('create', createArguments('disk'))
  await handle.command('snapshot', { volume: made.result.volume, name: 'monday' })

  const refused = await verify(path)
  expect(refused.code).toBe(2)
  expect(refused.errors).toMatch(/ERR_STORE_LOCKED/)

  await handle.stop()
  await handle.close()
  const { code, output } = await verify(path)
  expect(JSON.parse(output)).toMatchObject({
    store: identity.store,
    findings: [],
    volumes: [{ volume: made.result.volume, name: 'disk', lsn: 2, snapshots: [{ name: 'monday', lsn: 2 }] }],
  })
  expect(code).toBe(0)
})
