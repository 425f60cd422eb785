/** A real engine process in a directory of its own, and volumes made through its control socket. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeCreate, type Mode, stampHashOf } from '@cloudfs/format'
import type { HostId } from '@cloudfs/interface'
import { EngineGoneError, type EngineEvent, Stamp, type StoreId, type VolumeId } from '@cloudfs/interface'
import { EngineClient } from '@cloudfs/replicator'
import { endTools, runTool } from './run-tool.js'

const ENGINE = new URL('../../../packages/engine/bin/cloudfs-engine.js', import.meta.url).pathname
const BUILT = new URL('../../../packages/engine/dist/main.js', import.meta.url).pathname

export interface FormatOptions {
  /** Left out for a device, which has its own. */
  readonly size?: string
  readonly segmentSize?: string
  /** One big file instead of a directory. */
  readonly file?: boolean
  readonly name?: string
  /** A block device to use. */
  readonly device?: string
  readonly force?: boolean
}

export interface StartOptions {
  readonly stores?: readonly string[]
  readonly args?: readonly string[]
}

export interface VolumeOptions {
  readonly mode?: Mode
  readonly name?: string
  /** Path of the store; the first one if left out. */
  readonly store?: string
}

/** Everything that an engine leaves lies in `directory`, which `dispose` removes. */
export class EngineHost {
  readonly directory = mkdtempSync(join(tmpdir(), 'cloudfs-e2e-'))
  readonly run = join(this.directory, 'run')
  readonly events: EngineEvent[] = []
  /** Told of each event besides. */
  listener: ((event: EngineEvent) => void) | undefined
  #process: ChildProcess | undefined
  #client: EngineClient | undefined
  #exited: Promise<string> | undefined
  /** What the engine printed since it was started, for a test that fails. */
  log = ''

  /** The control connection of a running engine. */
  get client(): EngineClient {
    if (this.#client === undefined) throw new EngineGoneError('the engine is not running')
    return this.#client
  }

  get pid(): number {
    const pid = this.#process?.pid
    if (pid === undefined) throw new Error('the engine is not running')
    return pid
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  /** Makes a store. @returns its identity and its path */
  async format(options: FormatOptions): Promise<{ store: StoreId; host: HostId; path: string }> {
    if (!existsSync(BUILT)) throw new Error('the engine is not built: run "npm run build"')
    const path = options.device ?? this.path(options.name ?? 'store')
    const { stdout } = await runTool(
      process.execPath,
      ENGINE,
      'format',
      `--store=${path}`,
      `--segment-size=${options.segmentSize ?? '1M'}`,
      ...(options.size === undefined ? [] : [`--size=${options.size}`]),
      ...(options.force === true ? ['--force'] : []),
      ...(options.file === true ? ['--file'] : []),
    )
    return { ...(JSON.parse(stdout) as { store: StoreId; host: HostId }), path }
  }

  /** Starts the engine and waits until its stores are ready. @throws an Error with the log if it ends first */
  async start({ stores = [this.path('store')], args = [] }: StartOptions = {}): Promise<void> {
    this.log = ''
    const child = spawn(
      process.execPath,
      [ENGINE, ...stores.map((store) => `--store=${store}`), `--run=${this.run}`, ...args],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    this.#process = child
    this.#exited = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        resolve(String(code ?? signal))
      })
    })
    const serving = new Promise<void>((resolve) => {
      const take = (text: string): void => {
        this.log += text
        if (this.log.includes('"msg":"serving"')) resolve()
      }
      child.stdout.setEncoding('utf8').on('data', take)
      child.stderr.setEncoding('utf8').on('data', take)
    })
    const ended = this.#exited.then((how) => {
      throw new Error(`the engine ended with ${how}\n${this.log}`)
    })
    await Promise.race([serving, ended])
    ended.catch(() => undefined)
    this.#client = await EngineClient.connect({
      socketPath: join(this.run, 'engine.sock'),
      onEvent: (event) => {
        this.events.push(event)
        this.listener?.(event)
      },
    })
    await this.#client.call('subscribe', {})
  }

  /** Ends the engine with a signal. @returns its exit code, or the signal's name */
  async end(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<string> {
    this.#process?.kill(signal)
    const how = (await this.#exited) ?? 'not started'
    await this.#client?.close()
    this.#client = undefined
    this.#process = undefined
    this.#exited = undefined
    return how
  }

  /** Makes a volume with this store as its one replica. */
  async createVolume(
    sizeBytes: number,
    { mode = 'quorum', name = 'disk', store }: VolumeOptions = {},
  ): Promise<VolumeId> {
    const stores = (await this.client.call('stores', {})).result
    const status = store === undefined ? stores[0] : stores.find(({ path }) => path === store)
    if (status?.store === undefined || status.host === undefined) throw new Error('no such store')
    const stamp = Stamp.fromBytes(randomBytes(32))
    const payload = encodeCreate({
      sizeBytes: BigInt(sizeBytes),
      mode,
      name,
      nonce: randomBytes(16),
      view: {
        stampHash: stampHashOf(stamp),
        primary: status.host,
        leaseMs: 500,
        members: [{ host: status.host, store: status.store, role: 'data', slice: new Uint8Array() }],
      },
    })
    const args = {
      stamp,
      payload: Buffer.from(payload).toString('hex'),
      epoch: { counter: 1, host: status.host },
    }
    return (await this.client.call('create', args, { store: status.path })).result.volume
  }

  /** Serves a volume at a socket in the run directory. @returns its path */
  async serve(volume: VolumeId, store?: string): Promise<string> {
    const socket = join(this.run, `${volume.slice(0, 12)}.nbd`)
    await this.client.call('serve', { volume, socket }, store === undefined ? {} : { store })
    return socket
  }

  async dispose(): Promise<void> {
    endTools()
    if (this.#process !== undefined) await this.end('SIGKILL')
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** What NBD programs call a unix socket. */
export function nbdUri(socket: string, name = ''): string {
  return `nbd+unix:///${name}?socket=${socket}`
}
