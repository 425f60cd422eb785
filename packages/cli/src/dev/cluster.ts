/** A cluster of real processes on this machine, for trying things out and for tests. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { NodeClient, NodeUnreachableError } from '@cloudfs/http'
import { GIB, parseBytes, UsageError } from '@cloudfs/interface'
import { z } from 'zod'
import { ClusterError, PortTakenError } from './errors.js'
import { choosePorts } from './ports.js'
import { isRunning, readPid, signal } from './processes.js'

const program = fileURLToPath(new URL('../../bin/cloudfs.js', import.meta.url))

const NODES_MAX = 32
/** A node with a store of three nodes stays below 2 GiB together. */
export const STORE_SIZE_DEFAULT = '640M'
/** A small store is cleaned in small pieces. */
const segmentSizeOf = (storeSize: string): string => (parseBytes(storeSize) < 4 * GIB ? '8M' : '32M')

/** Both processes start in about a second; a machine with little to spare takes many. */
const READY_TIMEOUT_MS = 60_000
/** A clean stop writes a checkpoint and syncs it, which takes as long as the disk does. */
const STOP_TIMEOUT_MS = 120_000
const POLL_MS = 50
/** What does not answer by then is asked again, until the time above is up. */
const ASK_TIMEOUT_MS = 5_000
/** How often a node looks for other ports, at its first start and later. */
const MOVES_MAX = 5
/** Of the file that all nodes share. */
const PRIVATE_NETWORK_KEY_BYTES = 32
/**
 * A young heap of this many MiB: memory that an idle node does not use is memory of the others. With 1 a fifth of the time in which
 * many volumes get another primary goes into collecting it.
 */
const SEMI_SPACE_MIB = 4

const NodePlace = z.object({
  index: z.int().min(1),
  directory: z.string(),
  /** Others may be written into the cluster's file: of a network namespace, say. */
  address: z.string().default('127.0.0.1'),
  /** A command that becomes the node, which is given as its arguments: `ip netns exec NAME`, say. */
  within: z.array(z.string()).default([]),
  httpPort: z.int(),
  enginePort: z.int(),
  peerPort: z.int(),
  nbdPort: z.int(),
})
const ClusterFile = z.object({ storeSize: z.string(), nodes: z.array(NodePlace) })
type ClusterFile = z.output<typeof ClusterFile>
export type NodePlace = z.output<typeof NodePlace>

export interface NodeState extends NodePlace {
  readonly url: string
  readonly replicatorPid: number | undefined
  readonly enginePid: number | undefined
}

export type Half = 'engine' | 'replicator'

export class DevCluster {
  readonly directory: string
  readonly #path: string

  constructor(directory: string) {
    this.directory = resolve(directory)
    this.#path = join(this.directory, 'cluster.json')
  }

  /** Starts as many nodes as asked, those that exist already first; resolves when all are ready and know each other. */
  async up(count: number, storeSize = STORE_SIZE_DEFAULT): Promise<NodeState[]> {
    if (!Number.isInteger(count) || count < 1 || count > NODES_MAX) {
      throw new UsageError(`a cluster has 1 to ${String(NODES_MAX)} nodes`)
    }
    mkdirSync(this.directory, { recursive: true })
    const file = this.#read() ?? { storeSize, nodes: [] }
    while (file.nodes.length < count) {
      const index = file.nodes.length + 1
      const ports = await choosePorts(index === 1, file.nodes, this.directory)
      const directory = join(this.directory, `node${String(index)}`)
      file.nodes.push(NodePlace.parse({ index, directory, ...ports }))
    }
    this.#write(file)
    this.#ensureKey()
    await Promise.all(file.nodes.map(({ index }) => this.#startSomewhere(index)))
    const nodes = this.list()
    await this.#acquainted(nodes)
    return nodes
  }

  /** Starts a node; if another program was quicker to take one of its ports, with others. */
  async #startSomewhere(index: number): Promise<void> {
    for (let moves = 0; ; moves++) {
      try {
        await this.start(index)
        return
      } catch (error) {
        if (!(error instanceof PortTakenError) || moves === MOVES_MAX) throw error
        await this.kill(index)
        const { nodes } = this.#cluster()
        const ports = await choosePorts(false, nodes, this.directory)
        // Read again: another node may have moved meanwhile.
        const file = this.#cluster()
        this.#write({
          ...file,
          nodes: file.nodes.map((node) => (node.index === index ? { ...node, ...ports } : node)),
        })
      }
    }
  }

  /** @throws {ClusterError} there is no cluster in the directory */
  list(): NodeState[] {
    return this.#cluster().nodes.map(stateOf)
  }

  node(index: number): NodeState {
    const found = this.list().find((each) => each.index === index)
    if (found !== undefined) return found
    throw new UsageError(`the cluster has no node ${String(index)}`)
  }

  /** Starts a node's replicator, which starts its engine; does nothing if it runs. Resolves when it is ready. */
  async start(index: number): Promise<NodeState> {
    const node = this.node(index)
    const logs = [join(node.directory, 'replicator.log'), join(node.directory, 'engine.log')]
    const said = logs.map((path) => new LogTail(path))
    const child = node.replicatorPid === undefined ? this.#spawn(node) : undefined
    try {
      await this.#ready(node, said, child)
    } catch (error) {
      // The next one started would find the directory taken by this one.
      if (child !== undefined) await ended(child, node.directory)
      throw error
    }
    return this.node(index)
  }

  /** Ends both halves cleanly. */
  async stop(index: number): Promise<void> {
    const { replicatorPid, enginePid, directory } = this.node(index)
    if (replicatorPid !== undefined) signal(replicatorPid, 'SIGTERM')
    await gone(replicatorPid, directory, 'replicator')
    if (enginePid !== undefined) signal(enginePid, 'SIGTERM')
    await gone(enginePid, directory, 'engine')
  }

  /** As a crash: SIGKILL, to one half or to both. */
  async kill(index: number, half?: Half): Promise<void> {
    const { replicatorPid, enginePid, directory } = this.node(index)
    // The replicator first: it would start another engine.
    if (half !== 'engine' && replicatorPid !== undefined) signal(replicatorPid, 'SIGKILL')
    if (half !== 'engine') await gone(replicatorPid, directory, 'replicator')
    if (half !== 'replicator' && enginePid !== undefined) signal(enginePid, 'SIGKILL')
    if (half !== 'replicator') await gone(enginePid, directory, 'engine')
  }

  /** Stops all nodes; their disks stay. */
  async down(): Promise<void> {
    await Promise.all(this.list().map(({ index }) => this.stop(index)))
  }

  #cluster(): ClusterFile {
    const file = this.#read()
    if (file !== undefined) return file
    throw new ClusterError(`no cluster in ${this.directory}; cloudfs dev up makes one`)
  }

  #write(file: ClusterFile): void {
    writeFileSync(this.#path, `${JSON.stringify(file, undefined, 2)}\n`)
  }

  /** Keeps the cluster's nodes to themselves: at a port of theirs another cluster's node may answer one day. */
  #ensureKey(): string {
    const path = join(this.directory, 'network.key')
    if (!existsSync(path)) writeFileSync(path, randomBytes(PRIVATE_NETWORK_KEY_BYTES), { mode: 0o600 })
    return path
  }

  #read(): ClusterFile | undefined {
    if (!existsSync(this.#path)) return undefined
    try {
      return ClusterFile.parse(JSON.parse(readFileSync(this.#path, 'utf8')))
    } catch (cause) {
      throw new ClusterError(`${this.#path}: is no cluster's`, { cause })
    }
  }

  #spawn(node: NodePlace): ChildProcess {
    const nodes = this.list()
    const path = join(node.directory, 'replicator.log')
    mkdirSync(dirname(path), { recursive: true })
    const log = openSync(path, 'a')
    const storeSize = this.#read()?.storeSize ?? STORE_SIZE_DEFAULT
    const flags = {
      directory: node.directory,
      'store-size': storeSize,
      'segment-size': segmentSizeOf(storeSize),
      'http-port': node.httpPort,
      'engine-http-port': node.enginePort,
      'peer-port': node.peerPort,
      'nbd-port': node.nbdPort,
      'http-host': node.address,
      'engine-http-host': node.address,
      'peer-host': node.address,
      'private-network-key': this.#ensureKey(),
    }
    const others = nodes.filter(({ index }) => index !== node.index)
    try {
      const args = Object.entries(flags).map(([name, value]) => `--${name}=${String(value)}`)
      const peers = others.map(({ address, httpPort }) => `${address}:${String(httpPort)}`)
      const heap = `--max-semi-space-size=${String(SEMI_SPACE_MIB)}`
      const [command = '', ...rest] = [
        ...node.within,
        ...[process.execPath, heap, program, 'replicator', ...peers, ...args],
      ]
      const child = spawn(command, rest, {
        detached: true,
        stdio: ['ignore', log, log],
      })
      child.unref()
      return child
    } finally {
      closeSync(log)
    }
  }

  /** The answer must be this node's: another may have its port. */
  async #ready(node: NodePlace, said: readonly LogTail[], child: ChildProcess | undefined): Promise<void> {
    const client = new NodeClient({ url: urlOf(node) })
    const log = `see ${node.directory}/replicator.log`
    const what = `node ${String(node.index)} is not ready; ${log}`
    await until(READY_TIMEOUT_MS, what, async () => {
      // Looked at before its log: what it says last is there then.
      const hasEnded = child !== undefined && isEnded(child)
      const taken = said
        .flatMap((log) => log.text().split('\n'))
        .find((line) => line.includes('EADDRINUSE') || line.includes('ERR_ADDRESS_IN_USE'))
      if (taken !== undefined)
        throw new PortTakenError(
          `another program has a port of node ${String(node.index)} (${portsOf(node)}): ${taken}`,
        )
      if (hasEnded) throw new ClusterError(`node ${String(node.index)} ended as it started; ${log}`)
      const isOk = await fetch(`${urlOf(node)}/readyz`, { signal: AbortSignal.timeout(ASK_TIMEOUT_MS) }).then(
        ({ ok }) => ok,
        () => false,
      )
      if (!isOk) return false
      const answer = await client.call('self').catch((error: unknown): Error => {
        if (error instanceof Error) return error
        throw error
      })
      if (answer instanceof NodeUnreachableError) return false
      if (!(answer instanceof Error) && answer.runDirectory === join(node.directory, 'run')) return true
      throw new PortTakenError(`another program has a port of node ${String(node.index)}: ${urlOf(node)}`)
    })
  }

  async #acquainted(nodes: readonly NodePlace[]): Promise<void> {
    await until(READY_TIMEOUT_MS, 'the nodes do not find each other', async () => {
      const known = await Promise.all(nodes.map((node) => new NodeClient({ url: urlOf(node) }).call('nodes')))
      return known.every((each) => each.filter(({ state }) => state === 'up').length >= nodes.length)
    })
  }
}

/** What is added to a log from now on. */
class LogTail {
  readonly #path: string
  readonly #start: number

  constructor(path: string) {
    this.#path = path
    this.#start = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  }

  text(): string {
    return existsSync(this.#path) ? readFileSync(this.#path).subarray(this.#start).toString('utf8') : ''
  }
}

function portsOf({ httpPort, enginePort, peerPort, nbdPort }: NodePlace): string {
  return [httpPort, enginePort, peerPort, nbdPort].join(', ')
}

function urlOf({ address, httpPort }: NodePlace): string {
  return `http://${address}:${String(httpPort)}`
}

function stateOf(node: NodePlace): NodeState {
  return {
    ...node,
    url: urlOf(node),
    replicatorPid: readPid(join(node.directory, 'replicator.pid'), node.directory),
    enginePid: readPid(join(node.directory, 'run', 'engine.pid'), node.directory),
  }
}

async function gone(pid: number | undefined, directory: string, half: Half): Promise<void> {
  if (pid === undefined) return
  const what = `the ${half} in ${directory} does not end`
  await until(STOP_TIMEOUT_MS, what, () => Promise.resolve(!isRunning(pid, directory)))
}

function isEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null
}

/** Ends a replicator that is starting, with the engine that it may have started. */
async function ended(child: ChildProcess, directory: string): Promise<void> {
  child.kill('SIGINT')
  await until(STOP_TIMEOUT_MS, `the replicator in ${directory} does not end`, () =>
    Promise.resolve(isEnded(child)),
  )
}

async function until(timeoutMs: number, what: string, isSo: () => Promise<boolean>): Promise<void> {
  const giveUpMs = performance.now() + timeoutMs
  // What is waited for may hold nothing that keeps this process.
  const stay = setInterval(() => undefined, timeoutMs)
  try {
    while (!(await isSo())) {
      if (performance.now() > giveUpMs) throw new ClusterError(what)
      await delay(POLL_MS)
    }
  } finally {
    clearInterval(stay)
  }
}
