import { afterEach, expect, test, vi } from 'vitest'
import { main } from './index.js'

const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
const talk = (): string => write.mock.calls.map(([text]) => String(text)).join('')

afterEach(() => {
  write.mockClear()
})

test.each([
  [['lss'], /unknown command 'lss'.*ls/s],
  [['newdisk', '1', '--mode', 'fast'], /--mode is one of/],
  [['newdisk', 'many'], /not a number of replicas/],
  [['info'], /missing required argument/],
  [['dev', 'kill', 'x'], /not the number of a node/],
])('a command line that is not understood exits with 2 and says why: %j', async (args, message) => {
  expect(await main(args)).toBe(2)
  expect(talk()).toMatch(message)
})

test('a node that does not answer exits with 3', async () => {
  expect(await main(['ls', '--node', '127.0.0.1:1'])).toBe(3)
  expect(talk()).toMatch(/ERR_NODE_UNREACHABLE: no node answers at http:\/\/127\.0\.0\.1:1/)
})
