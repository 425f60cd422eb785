/**
 * Loads the addon built from `src/`: from where `make addon` puts it, else from where a published package carries it.
 * What it exports is raw; the files beside this one give it types and contracts.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'

/** What `src/addon.cc` exports. */
interface Addon {
  crc32c(bytes: Uint8Array): number
  describe(kind: string, bytes: Uint8Array): string
  lockFile(path: string): number
  StoreHandle: new (options: object, onEvent: (name: string, detail: string) => void) => RawStoreHandle
  SimCore: new (params?: object) => RawSimCore
  SimEndpoint: new () => RawSimEndpoint
}

/** `src/addon/store_handle.cc` */
export interface RawStoreHandle {
  format(identity: object): void
  start(): void
  stop(): void
  command(verb: string, args: string, payload?: Uint8Array): Promise<{ result: string; payload: Buffer }>
  listen(options: object): Promise<number>
  unlisten(key: string): Promise<boolean>
  adoptStream(options: object): Promise<number>
  adoptSession(options: object): Promise<void>
  followNow(volume: string): void
  openEndpoint(options: object): Promise<void>
  routeHere(options: object): Promise<void>
  routeThere(options: object): Promise<void>
  endEndpoint(volume: string): Promise<boolean>
  endpoints(): Promise<unknown[]>
  closeStream(stream: number): void
  read(options: object): Promise<{ version: string; bytes: Buffer }>
  write(options: object): Promise<{ version: string }>
  stats(): Promise<Record<string, number>>
  close(): Promise<void>
}

/** `src/addon/sim_core.cc` */
export interface RawSimCore {
  format(identity: object, nowNs: number | bigint): void
  start(nowNs: number | bigint): void
  stop(): void
  complete(id: number, error: number, bytes?: Uint8Array): void
  submit(op: object): void
  command(id: number, verb: string, args: string, payload?: Uint8Array): void
  turn(nowNs: number | bigint): {
    io: unknown[]
    replies: unknown[]
    events: { name: string; detail: string }[]
    sends: { stream: number; bytes: Buffer }[]
    closes: number[]
    answers: { id: number; errorCode: string; message: string; result: string; payload: Buffer }[]
  }
  nextDeadlineNs(): bigint | undefined
  segmentLog2(): number
  openExport(name: string, session?: Uint8Array): unknown
  listExports(): unknown[]
  closeExport(handle: number): void
  openRefusal(name: string, session?: Uint8Array): string
  sessionSeen(handle: number, sequence: number | bigint): void
  openStream(role: string, volume: string): number
  streamReceive(stream: number, bytes: Uint8Array): number
  streamSent(stream: number, bytes: number): void
  streamClosed(stream: number): void
  close(): void
}

/** `src/addon/sim_endpoint.cc` */
export interface RawSimEndpoint {
  submit(op: object): void
  route(recordBytesMax: number): number
  lost(route: number): void
  answer(route: number, reply: object): void
  end(): void
  take(): { sent: object[]; delivered: object[]; isRouted: boolean }
}

const require = createRequire(import.meta.url)
const packageRoot = new URL('../', import.meta.url)
const candidates = [
  'build/release/cloudfs.node',
  `prebuilds/${process.platform}-${process.arch}/cloudfs.node`,
]

function loadAddon(): Addon {
  for (const candidate of candidates) {
    const path = new URL(candidate, packageRoot).pathname
    if (existsSync(path)) return require(path) as Addon
  }
  throw new Error(`the native addon is not built (${candidates.join(', ')}): run "npm run build"`)
}

export const addon = loadAddon()
