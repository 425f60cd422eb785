/** Local clusters side by side: what has a node's port may be another program, or another cluster's node. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test } from 'vitest'

const options = { timeout: 120_000 }
const program = new URL('../../packages/cli/bin/cloudfs.js', import.meta.url).pathname

interface Node {
  readonly url: string
  readonly httpPort: number
  readonly directory: string
}

let directory: string
let stranger: Server | undefined

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cloudfs-dev-'))
})
afterEach(async () => {
  stranger?.close()
  await dev('down')
  rmSync(directory, { recursive: true })
}, 60_000)

async function dev(...args: readonly string[]): Promise<Node[]> {
  const command = [program, 'dev', ...args, '--dir', directory, '--json']
  const { stdout } = await promisify(execFile)(process.execPath, command)
  return stdout === '' ? [] : (JSON.parse(stdout) as Node[])
}

test('a node whose port another program has taken says so; up gives it others', options, async () => {
  const [before] = await dev('up', '--nodes', '1')
  const host = await hostAt(before?.url)
  await dev('stop', '1')
  // It answers as a node that is ready does.
  stranger = createServer((_, response) => response.end('ok\n'))
  await new Promise<void>((listening) => stranger?.listen(before?.httpPort, '127.0.0.1', listening))

  await expect(dev('start', '1')).rejects.toMatchObject({
    stderr: expect.stringMatching(/ERR_DEV_CLUSTER.*another program has a port of node 1/),
  })
  const [after] = await dev('up', '--nodes', '1')
  expect(after?.httpPort).not.toBe(before?.httpPort)
  // The same node, with its store.
  expect(await hostAt(after?.url)).toBe(host)
})

test('the nodes of a cluster have a key of their own, so that others cannot join', options, async () => {
  const [first] = await dev('up', '--nodes', '2')
  expect(readFileSync(join(directory, 'network.key'))).toHaveLength(32)
  const other = mkdtempSync(join(tmpdir(), 'cloudfs-dev-'))
  const command = [program, 'dev', 'up', '--nodes', '1', '--dir', other, '--json']
  try {
    const { stdout } = await promisify(execFile)(process.execPath, command)
    const [foreign] = JSON.parse(stdout) as Node[]
    const addresses = (await (await fetch(`${foreign?.url ?? ''}/id`, json)).json()) as { host: string }
    const nodes = (await (await fetch(`${first?.url ?? ''}/v1/nodes`)).json()) as { host: string }[]
    expect(nodes).toHaveLength(2)
    expect(nodes.map(({ host }) => host)).not.toContain(addresses.host)
  } finally {
    await promisify(execFile)(process.execPath, [program, 'dev', 'down', '--dir', other])
    rmSync(other, { recursive: true })
  }
})

const json = { headers: { accept: 'application/json' } }

async function hostAt(url = ''): Promise<string> {
  return ((await (await fetch(`${url}/id`, json)).json()) as { host: string }).host
}
