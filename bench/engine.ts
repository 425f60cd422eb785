/** An engine process by itself, with a store and volumes of one copy: what is measured without a replicator in the way. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { encodeCreate, stampHashOf } from '@cloudfs/format'
import { type CoreParams, Stamp, type VolumeId } from '@cloudfs/interface'
import { EngineClient } from '@cloudfs/replicator'
import { atEnd } from './ends.js'
import { runTool } from './tool.js'

const program = fileURLToPath(new URL('../../packages/engine/bin/cloudfs-engine.js', import.meta.url))
const SEGMENT_SIZE = '32M'
const POLL_MS = 2
const START_TIMEOUT_MS = 300_000

export interface Started {
  /** From the start of the process until its control socket answers. */
  readonly controlMs: number
  /** From the start of the process until the store has recovered. */
  readonly readyMs: number
}

export class BareEngine {
  readonly store: string
  readonly #run: string
  readonly #directory: string
  #process: ChildProcess | undefined
  #client: EngineClient | undefined

  private constructor(directory: string) {
    this.#directory = directory
    this.store = join(directory, 'store')
    this.#run = join(directory, 'run')
  }

  /** Makes an empty store. @param directory - of its own; `dispose` removes it */
  static async format(directory: string, sizeBytes: number): Promise<BareEngine> {
    rmSync(directory, { recursive: true, force: true })
    mkdirSync(directory, { recursive: true })
    const engine = new BareEngine(directory)
    const words = [`--store=${engine.store}`, `--size=${String(sizeBytes)}`, `--segment-size=${SEGMENT_SIZE}`]
    await runTool(process.execPath, program, 'format', ...words)
    return engine
  }

  get pid(): number {
    return this.#process?.pid ?? 0
  }

  get client(): EngineClient {
    if (this.#client === undefined) throw new Error('the engine is not running')
    return this.#client
  }

  /** Starts the engine; resolves when the store is ready. */
  async start(params: CoreParams = {}): Promise<Started> {
    const began = performance.now()
    const socketPath = join(this.#run, 'engine.sock')
    rmSync(socketPath, { force: true })
    const words = Object.entries(params).map(([name, value]) => `--param=${name}=${String(value)}`)
    const args = [`--store=${this.store}`, `--run=${this.#run}`, '--http=127.0.0.1:0', '--scrub-rate=0']
    const child = spawn(process.execPath, [program, ...args, ...words], { stdio: 'ignore' })
    this.#process = child
    const forget = atEnd(() => child.kill('SIGKILL'))
    child.once('exit', forget)
    await until(began, () => {
      if (child.exitCode !== null) throw new Error('the engine ended as it started')
      return Promise.resolve(existsSync(socketPath))
    })
    this.#client = await connected(began, socketPath)
    const controlMs = performance.now() - began
    await until(began, async () => {
      const [store] = (await this.client.call('stores', {})).result
      if (store?.state === 'failed') throw new Error(store.error?.message)
      return store?.state === 'ready'
    })
    return { controlMs, readyMs: performance.now() - began }
  }

  /** As a crash. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Cleanly. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM')
  }

  async dispose(): Promise<void> {
    await this.#end('SIGKILL')
    rmSync(this.#directory, { recursive: true, force: true })
  }

  async createVolume(sizeBytes: number, name: string): Promise<VolumeId> {
    const [status] = (await this.client.call('stores', {})).result
    if (status?.store === undefined || status.host === undefined) throw new Error('the store is not ready')
    const { store, host } = status
    const stamp = Stamp.fromBytes(randomBytes(32))
    const members = [{ host, store, role: 'data' as const, slice: new Uint8Array() }]
    const payload = encodeCreate({
      ...{ sizeBytes: BigInt(sizeBytes), mode: 'quorum', name, nonce: randomBytes(16) },
      view: { stampHash: stampHashOf(stamp), primary: host, leaseMs: 500, members },
    })
    const args = { stamp, payload: Buffer.from(payload).toString('hex'), epoch: { counter: 1, host } }
    return (await this.client.call('create', args)).result.volume
  }

  /** Serves a volume over NBD. @returns its URI */
  async serve(volume: VolumeId): Promise<string> {
    const socket = join(this.#run, `${volume.slice(0, 12)}.nbd`)
    await this.client.call('serve', { volume, socket })
    return `nbd+unix:///?socket=${socket}`
  }

  /** Reads one block over HTTP, by the way that NBD's reads go too. @throws an Error unless it is there */
  async readBlock(volume: VolumeId, offsetBytes: number): Promise<void> {
    const { port = 0 } = (await this.client.call('http', {})).result
    const range = `bytes=${String(offsetBytes)}-${String(offsetBytes + 4095)}`
    const answer = await fetch(`http://127.0.0.1:${String(port)}/blocks?${volume}`, { headers: { range } })
    const body = await answer.arrayBuffer()
    if (answer.status !== 206 || body.byteLength !== 4096) throw new Error('the block cannot be read')
  }

  /** What the store's core counts. */
  async figures(): Promise<Readonly<Record<string, number>>> {
    return (await this.client.call('stats', {})).result
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process
    if (child === undefined) return
    this.#process = undefined
    await this.#client?.close()
    this.#client = undefined
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }
}

async function connected(beganMs: number, socketPath: string): Promise<EngineClient> {
  let client: EngineClient | undefined
  await until(beganMs, async () => {
    client = await EngineClient.connect({ socketPath }).catch(() => undefined)
    return client !== undefined
  })
  if (client === undefined) throw new Error('there is no control socket')
  return client
}

async function until(beganMs: number, isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) {
    if (performance.now() - beganMs > START_TIMEOUT_MS) throw new Error('the engine is not ready in time')
    await delay(POLL_MS)
  }
}
