import { expect, test } from 'vitest'
import { engineAddressOf } from './engine-address.js'

test("an engine at all addresses is reached at its replicator's, one that others can reach first", () => {
  const peers = ['/ip4/127.0.0.1/tcp/8092', '/ip4/10.0.0.7/tcp/8092/p2p/x']
  expect(engineAddressOf({ host: '0.0.0.0', port: 8090 }, peers)).toBe('10.0.0.7:8090')
  expect(engineAddressOf({ host: '::', port: 8090 }, ['/ip6/fd00::1/tcp/1'])).toBe('[fd00::1]:8090')
  expect(engineAddressOf({ host: '0.0.0.0', port: 8090 }, [])).toBe('127.0.0.1:8090')
})

test('an engine at one address is reached there', () => {
  expect(engineAddressOf({ host: '127.0.0.1', port: 1 }, ['/ip4/10.0.0.7/tcp/8092'])).toBe('127.0.0.1:1')
  expect(engineAddressOf({ host: '::1', port: 1 }, [])).toBe('[::1]:1')
})
