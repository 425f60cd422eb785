import { expect, test } from 'vitest'
import { parseOptions } from './options.js'

test('a command line becomes options, with defaults', () => {
  expect(parseOptions(['--store', 'a', '--store', 'b', '--run', 'r'])).toEqual({
    command: 'serve',
    stores: ['a', 'b'],
    run: 'r',
    logLevel: 'info',
    params: {},
  })
  expect(
    parseOptions(['--store=a', '--run=r', '--nbd-port=0', '--param', 'checkpointBytes=4096']),
  ).toMatchObject({ nbd: { host: '127.0.0.1', port: 0 }, params: { checkpointBytes: 4096 } })
  expect(parseOptions(['--store=a', '--run=r', '--http=[::1]:0'])).toMatchObject({
    http: { host: '::1', port: 0 },
  })
  expect(parseOptions(['--store=a', '--run=r', '--elections'])).toMatchObject({ params: { elections: true } })
  expect(parseOptions(['format', '--store=a', '--size=1G', '--segment-size=1M'])).toEqual({
    command: 'format',
    store: 'a',
    sizeBytes: 2 ** 30,
    segmentLog2: 20,
    file: false,
    force: false,
  })
  expect(parseOptions(['-h'])).toEqual({ command: 'help' })
})

test.each([
  [['--run', 'r']],
  [['--store', 'a']],
  [['serve', '--store', 'a', '--run', 'r']],
  [['--store=a', '--run=r', '--nbd-port=65536']],
  [['--store=a', '--run=r', '--param=segmentLog3=4']],
  [['--store=a', '--run=r', '--param=segmentLog2=-4']],
  [['--store=a', '--run=r', '--log-level=loud']],
  [['--store=a', '--run=r', '--http=8090']],
  [['--store=a', '--run=r', '--http=localhost:65536']],
  [['--store=a', '--run=r', '--http=::1:80']],
  [['--stores=a']],
  [['format', '--store=a', '--store=b']],
  [['format', '--store=a', '--segment-size=3M']],
  [['format', '--store=a', '--file']],
])('%j is refused', (args) => {
  expect(() => parseOptions(args)).toThrow(expect.objectContaining({ code: 'ERR_USAGE' }))
})
