import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CONFIG_KEYS, flagOf, loadConfig, variableOf } from './config.js'

let directory: string
const fileOf = (content: unknown): string => {
  const path = join(directory, 'config.json')
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'cloudfs-test-'))
})
afterAll(() => {
  rmSync(directory, { recursive: true })
})

test('flags win over the environment, which wins over the file', () => {
  const file = fileOf({ httpPort: 1, nbdPort: 1, peerPort: 1, storeSize: '2G' })
  const environment = { CLOUDFS_NBD_PORT: '2', CLOUDFS_PEER_PORT: '2', CLOUDFS_PEERS: 'a:1, b' }
  const config = loadConfig({ file, environment, flags: { peerPort: '3' } })
  expect(config).toMatchObject({ httpPort: 1, nbdPort: 2, peerPort: 3, storeSize: 2 * 1024 ** 3 })
  expect(config.peers).toEqual(['a:1', 'b'])
})

test('paths that are left out lie in the directory', () => {
  const config = loadConfig({ flags: { directory: '/d' } })
  expect(config).toMatchObject({ store: '/d/store', runDirectory: '/d/run' })
})

test('an unknown key is refused with the nearest right one', () => {
  expect(() => loadConfig({ file: fileOf({ htpPort: 1 }) })).toThrow(
    expect.objectContaining({
      code: 'ERR_CONFIG',
      message: expect.stringMatching(/htpPort; is httpPort meant/),
    }),
  )
  expect(() => loadConfig({ file: fileOf({ colour: 1 }) })).toThrow(/there are hostId/)
})

test.each([
  [{ httpPort: 65536 }, /httpPort/],
  [{ hostId: 'abc' }, /40 hex digits/],
  [{ storeSize: 'much' }, /as in 16G/],
  [{ peers: ['a b'] }, /HOST or HOST:PORT/],
  [{ zone: '/x' }, /zone/],
  ['[]', /not a JSON object/],
  ['{', /config\.json/],
])('what is no configuration is refused: %j', (content, message) => {
  expect(() => loadConfig({ file: fileOf(content) })).toThrow(
    expect.objectContaining({ code: 'ERR_CONFIG', message: expect.stringMatching(message) }),
  )
})

test('a refusal names where the value came from', () => {
  expect(() => loadConfig({ flags: { httpPort: 'x' } })).toThrow(/--http-port/)
  expect(() => loadConfig({ environment: { CLOUDFS_HTTP_PORT: 'x' } })).toThrow(/CLOUDFS_HTTP_PORT/)
})

test('every key has a flag and a variable of its own', () => {
  const keys = Object.keys(CONFIG_KEYS) as (keyof typeof CONFIG_KEYS)[]
  expect(new Set(keys.map(flagOf)).size).toBe(keys.length)
  expect(variableOf('engineHttpPort')).toBe('CLOUDFS_ENGINE_HTTP_PORT')
})
