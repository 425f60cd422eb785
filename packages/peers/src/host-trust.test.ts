import { HostId } from '@cloudfs/interface'
import { expect, test } from 'vitest'
import { HostTrust } from './host-trust.js'

const host = (digit: string) => HostId.parse(digit.repeat(40))
const key = (byte: number) => new Uint8Array(32).fill(byte)
const saved = () => Promise.resolve()
const mismatch = expect.objectContaining({ code: 'ERR_HOST_KEY_MISMATCH' })

test('an id met for the first time is bound, and saved once', async () => {
  const trust = new HostTrust()
  let saves = 0
  const save = () => (saves++, Promise.resolve())
  await trust.bind(host('a'), key(1), save)
  await trust.bind(host('a'), key(1), save)
  expect(saves).toBe(1)
  expect(trust.hostOf(key(1))).toBe(host('a'))
})

test('a known id with another key is refused, and stays bound to the first', async () => {
  const trust = new HostTrust()
  await trust.bind(host('a'), key(1), saved)
  await expect(trust.bind(host('a'), key(2), saved)).rejects.toThrow(mismatch)
  expect(trust.hostOf(key(2))).toBeUndefined()
  expect(trust.hostOf(key(1))).toBe(host('a'))
})

test('a known key with another id is refused: one host cannot stand for several', async () => {
  const trust = new HostTrust()
  await trust.bind(host('a'), key(1), saved)
  await expect(trust.bind(host('b'), key(1), saved)).rejects.toThrow(mismatch)
  expect(trust.isBound(host('b'))).toBe(false)
})

test('of two that claim one id at the same moment one gets it, before it is saved', async () => {
  const trust = new HostTrust()
  let end = (): void => undefined
  const slow = () => new Promise<void>((resolve) => (end = resolve))
  const first = trust.bind(host('a'), key(1), slow)
  await expect(trust.bind(host('a'), key(2), saved)).rejects.toThrow(mismatch)
  end()
  await first
})

test('a binding that could not be saved does not hold', async () => {
  const trust = new HostTrust()
  await expect(trust.bind(host('a'), key(1), () => Promise.reject(new Error('disk')))).rejects.toThrow('disk')
  await trust.bind(host('a'), key(2), saved)
  expect(trust.hostOf(key(2))).toBe(host('a'))
})

test('a host that was forgotten may come back with another key', async () => {
  const trust = new HostTrust()
  await trust.bind(host('a'), key(1), saved)
  trust.forget(host('a'))
  await trust.bind(host('a'), key(2), saved)
  await trust.bind(host('b'), key(1), saved)
})
