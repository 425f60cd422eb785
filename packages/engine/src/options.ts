/** The engine's command line. */
import { parseArgs } from 'node:util'
import { type CoreParams, HostId, parseBytes, UsageError } from '@cloudfs/interface'
import { type Address, parseAddress } from './address.js'

export const USAGE = `Usage: cloudfs-engine --store PATH... --run DIR [--socket PATH] [--nbd-port PORT] [--nbd-host ADDRESS]
                      [--http HOST:PORT] [--scrub-rate SIZE]
       cloudfs-engine format --store PATH --size SIZE [--host ID] [--segment-size SIZE] [--file] [--force]

Serves the stores at PATH (directories, block devices or big files) until SIGTERM.

  --store PATH         a store; may be given several times
  --run DIR            run directory: lock, process id, sockets
  --socket PATH        control socket; DIR/engine.sock if left out
  --nbd-port PORT      serves the first store's volumes over NBD at this TCP port; 0 = any that is free
  --nbd-host ADDRESS   numeric address for it; 127.0.0.1 if left out
  --elections          a primary of several replicas leads by election and lease; whoever starts this engine runs them
  --http HOST:PORT     serves HTTP there (docs/engine.md); 127.0.0.1:8090 is usual, port 0 = any that is free
  --scrub-rate SIZE    bytes a second that each store reads to find rot; 4M if left out, 0 = only when asked
  --log-level LEVEL    trace, debug, info, warn, error, fatal
  --param NAME=NUMBER  a parameter of the core (native/src/core/base/parameters.h), as in checkpointBytes=1048576

format makes an empty store:

  --size SIZE          of the store (a device has its own)
  --host ID            the host it belongs to, 40 hex digits; random if left out
  --segment-size SIZE  64K to 64M, a power of two; 32M if left out
  --file               one big file instead of a directory
  --force              gives up whatever is there
`

export interface ServeOptions {
  readonly command: 'serve'
  readonly stores: readonly string[]
  readonly run: string
  readonly socket?: string
  readonly nbd?: { readonly host: string; readonly port: number }
  readonly http?: Address
  readonly logLevel: string
  readonly scrubBytesPerSecond?: number
  readonly params: CoreParams
}

export interface FormatOptions {
  readonly command: 'format'
  readonly store: string
  readonly sizeBytes?: number
  readonly host?: HostId
  readonly segmentLog2: number
  readonly file: boolean
  readonly force: boolean
}

export interface HelpOptions {
  readonly command: 'help'
}

const SEGMENT_LOG2_DEFAULT = 25

/** Sizes and distances of `CoreParams`, for `--param`. */
const PARAMS: Record<Exclude<keyof CoreParams, 'elections' | 'bootId'>, true> = {
  segmentLog2: true,
  segmentLimit: true,
  alignLog2: true,
  checkpointBytes: true,
  syncBytesMax: true,
  syncIntervalNs: true,
  recordBodyBytesMax: true,
  batchBodyBytesMax: true,
  preparedSegments: true,
  reservedSegments: true,
  readsInFlightMax: true,
  mapBytesMax: true,
}

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/** @throws {UsageError} */
export function parseOptions(args: readonly string[]): ServeOptions | FormatOptions | HelpOptions {
  const { values, positionals } = parse(args)
  if (values.help) return { command: 'help' }
  if (positionals[0] === 'format' && positionals.length === 1) return formatOptions(values)
  if (positionals.length > 0) throw new UsageError(`not understood: ${positionals.join(' ')}`)
  return serveOptions(values)
}

type Values = ReturnType<typeof parse>['values']

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        store: { type: 'string', multiple: true, default: [] },
        run: { type: 'string' },
        socket: { type: 'string' },
        'nbd-port': { type: 'string' },
        'nbd-host': { type: 'string', default: '127.0.0.1' },
        http: { type: 'string' },
        'scrub-rate': { type: 'string' },
        'log-level': { type: 'string', default: 'info' },
        param: { type: 'string', multiple: true, default: [] },
        size: { type: 'string' },
        host: { type: 'string' },
        'segment-size': { type: 'string' },
        elections: { type: 'boolean', default: false },
        file: { type: 'boolean', default: false },
        force: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
  } catch (cause) {
    throw new UsageError((cause as Error).message, { cause })
  }
}

function serveOptions(values: Values): ServeOptions {
  if (values.store.length === 0) throw new UsageError('--store is missing')
  if (values.run === undefined) throw new UsageError('--run is missing')
  if (!LEVELS.includes(values['log-level'])) {
    throw new UsageError(`--log-level is one of ${LEVELS.join(', ')}`)
  }
  const port = values['nbd-port']
  return {
    command: 'serve',
    stores: values.store,
    run: values.run,
    ...(values.socket === undefined ? {} : { socket: values.socket }),
    ...(port === undefined ? {} : { nbd: { host: values['nbd-host'], port: portOf(port) } }),
    ...(values.http === undefined ? {} : { http: addressOf(values.http) }),
    logLevel: values['log-level'],
    ...(values['scrub-rate'] === undefined ? {} : { scrubBytesPerSecond: parseBytes(values['scrub-rate']) }),
    params: { ...paramsOf(values.param), ...(values.elections && { elections: true }) },
  }
}

function formatOptions(values: Values): FormatOptions {
  const store = values.store[0]
  if (store === undefined || values.store.length > 1) throw new UsageError('format takes one --store')
  if (values.file && values.size === undefined) throw new UsageError('--file needs --size')
  return {
    command: 'format',
    store,
    ...(values.size === undefined ? {} : { sizeBytes: parseBytes(values.size) }),
    ...(values.host === undefined ? {} : { host: HostId.parse(values.host) }),
    segmentLog2: segmentLog2Of(values['segment-size']),
    file: values.file,
    force: values.force,
  }
}

function segmentLog2Of(text: string | undefined): number {
  const log2 = text === undefined ? SEGMENT_LOG2_DEFAULT : Math.log2(parseBytes(text))
  if (Number.isInteger(log2) && log2 >= 16 && log2 <= 26) return log2
  throw new UsageError('--segment-size is a power of two from 64K to 64M')
}

function addressOf(text: string): Address {
  const address = parseAddress(text)
  if (address !== undefined) return address
  throw new UsageError(`not HOST:PORT: ${text}`)
}

function portOf(text: string): number {
  const port = Number(text)
  if (/^\d{1,5}$/.test(text) && port <= 65535) return port
  throw new UsageError(`not a port: ${text}`)
}

function paramsOf(texts: readonly string[]): CoreParams {
  const params: Record<string, number> = {}
  for (const text of texts) {
    const [name = '', value = ''] = text.split('=', 2)
    if (!Object.hasOwn(PARAMS, name) || !/^\d{1,15}$/.test(value)) {
      throw new UsageError(`not a parameter: ${text}; there are ${Object.keys(PARAMS).join(', ')}`)
    }
    params[name] = Number(value)
  }
  return params
}
