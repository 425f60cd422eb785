/** `cloudfs format`, the original's `nuke`: empty stores, and what it does not give up without being told to. */
import { existsSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster } from './support/cluster.js'

const options = { timeout: 120_000 }
const small = ['--size', '128M', '--segment-size', '1M']

let cluster: Cluster
beforeAll(async () => {
  cluster = await new Cluster().up(1)
}, 120_000)
afterAll(() => cluster.dispose(), 120_000)

interface Report {
  readonly store: string
  readonly host: string
  readonly volumes: readonly unknown[]
}

async function verify(path: string): Promise<Report> {
  return JSON.parse(await cluster.cloudfs('verify', '--store', path, '--json')) as Report
}

test.each([
  ['a directory', 'directory', []],
  ['one big file', 'file', ['--file']],
])('an empty store in %s is sound; nuke makes another of the same', options, async (_, path, flags) => {
  const store = await cluster.cloudfs('format', path, ...small, ...flags)
  const first = await verify(path)
  expect(first).toMatchObject({ store, volumes: [] })
  // Nobody is there to be asked.
  await expect(cluster.cloudfs('nuke', path, ...small, ...flags)).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--yes'),
  })
  expect(await verify(path)).toEqual(first)
  expect(await cluster.cloudfs('nuke', path, ...small, ...flags, '--yes')).not.toBe(store)
  if (flags.length === 0) expect((await verify(path)).host).toBe(first.host)
})

test('the store of a running node is never formatted; of a stopped one when told to', options, async () => {
  const { directory } = cluster.first
  const store = `${directory}/store`
  await cluster.cloudfs('newdisk', '1', '--size', '8M')
  await expect(cluster.cloudfs('format', store, ...small, '--yes')).rejects.toMatchObject({
    stderr: expect.stringContaining('ERR_STORE_LOCKED'),
  })
  const { host } = JSON.parse(
    await cluster.shell('curl -sf -H accept:application/json "$CLOUDFS_NODE/id"'),
  ) as {
    host: string
  }
  await cluster.stopNode(1)
  await expect(cluster.cloudfs('format', store, ...small)).rejects.toMatchObject({
    stderr: expect.stringMatching(/with 1 disk \(8\.00 MiB\).*--yes/),
  })
  await cluster.cloudfs('format', store, ...small, '--yes')
  await cluster.startNode(1)
  // The same host with an empty store.
  expect(await cluster.shell('curl -sf -H accept:application/json "$CLOUDFS_NODE/id"')).toContain(host)
  expect(await cluster.cloudfs('ls', '--json')).toBe('[]')
})

test('what is no store is formatted only when told to', options, async () => {
  writeFileSync(cluster.path('letters'), 'dear reader')
  await expect(cluster.cloudfs('format', 'letters', ...small, '--file')).rejects.toMatchObject({ code: 2 })
  await cluster.cloudfs('format', 'letters', ...small, '--file', '--yes')
  expect((await verify('letters')).volumes).toEqual([])
})

test.each([
  ['a size that is none', ['x', '--size', 'big'], 'ERR_MALFORMED_QUANTITY'],
  ['a store too small for its segments', ['x', '--size', '8M'], 'ERR_USAGE'],
  ['a segment size that is no power of two', ['x', '--size', '1G', '--segment-size', '3M'], 'ERR_USAGE'],
  ['a host id that is none', ['x', '--host', 'me'], 'ERR_MALFORMED_ID'],
])('%s is refused with its code', options, async (_, args, code) => {
  await expect(cluster.cloudfs('format', ...args)).rejects.toMatchObject({
    stderr: expect.stringContaining(code),
  })
  expect(existsSync(cluster.path('x/superblock'))).toBe(false)
})
