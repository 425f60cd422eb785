import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { HOST_KEY_FILE, HostKey, hostIdOf } from './index.js'

let directory: string
const path = () => join(directory, HOST_KEY_FILE)

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cloudfs-key-'))
})

afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

const refused = expect.objectContaining({ code: 'ERR_HOST_KEY_FILE' })

test('the first start makes the key, later ones find the same, and nobody else may read it', async () => {
  const made = await HostKey.loadOrCreate(directory)
  const found = await HostKey.loadOrCreate(directory)
  expect(found.seed).toEqual(made.seed)
  expect(found.publicKey).toEqual(made.publicKey)
  expect(statSync(path()).mode & 0o777).toBe(0o600)
  expect(readdirSync(directory)).toEqual([HOST_KEY_FILE])
})

test('of several first starts at once all get the same key, and no other file stays behind', async () => {
  const keys = await Promise.all(Array.from({ length: 8 }, () => HostKey.loadOrCreate(directory)))
  expect(new Set(keys.map((key) => Buffer.from(key.seed).toString('hex'))).size).toBe(1)
  expect(readdirSync(directory)).toEqual([HOST_KEY_FILE])
})

test('the file is a PKCS#8 key in PEM, with the public key that others see', async () => {
  const key = await HostKey.loadOrCreate(directory)
  const pem = readFileSync(path(), 'utf8')
  expect(pem).toMatch(/^-----BEGIN PRIVATE KEY-----\n/)
  const der = createPublicKey(pem).export({ type: 'spki', format: 'der' })
  expect(new Uint8Array(der.subarray(-32))).toEqual(key.publicKey)
})

test('libp2p gets the same key', async () => {
  const key = await HostKey.loadOrCreate(directory)
  expect(key.toLibp2p().publicKey.raw).toEqual(key.publicKey)
  const message = Buffer.from('x')
  const signature = await key.toLibp2p().sign(message)
  expect(await HostKey.fromPem(key.toPem()).toLibp2p().publicKey.verify(message, signature)).toBe(true)
})

test.each([
  ['is empty', ''],
  ['is cut short', HostKey.generate().toPem().slice(0, 60)],
  ['is noise', 'x'.repeat(200)],
  ['is far too long', 'x'.repeat(10_000)],
  [
    'holds a key of another kind',
    generateKeyPairSync('x25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  ],
])('a file that %s is refused and left alone', async (_why, contents) => {
  writeFileSync(path(), contents, { mode: 0o600 })
  await expect(HostKey.loadOrCreate(directory)).rejects.toThrow(refused)
  expect(readFileSync(path(), 'utf8')).toBe(contents)
})

test('a key that others may read is refused', async () => {
  await HostKey.loadOrCreate(directory)
  chmodSync(path(), 0o640)
  await expect(HostKey.loadOrCreate(directory)).rejects.toThrow(/chmod 600/)
})

test('a directory that is not there is a coded error', async () => {
  await expect(HostKey.loadOrCreate(join(directory, 'none'))).rejects.toThrow(refused)
})

test('a host id follows from the public key: SHA-256, 160 bits', () => {
  expect(hostIdOf(new Uint8Array(32))).toBe('66687aadf862bd776c8fc18b8e9f8e2008971485')
})
