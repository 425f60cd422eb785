/** A cluster of real processes on this machine, for trying things out and for tests. */
import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { NodeClient } from '@cloudfs/http'
import { GIB, parseBytes, UsageError } from '@cloudfs/interface'
import { z } from 'zod'
import { ClusterError } from './errors.js'
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
/** A young heap of this many MiB: memory that an idle node does not use is memory of the others. */
const SEMI_SPACE_MIB = 1

const NodePlace = z.object({
  index: z.int().min(1),
  directory: z.string(),
  httpPort: z.int(),
  enginePort: z.int(),
  peerPort: z.int(),
  nbdPort: z.int(),
})
const ClusterFile = z.object({ storeSize: z.string(), nodes: z.array(NodePlace) })
export type NodePlace = z.output<typeof NodePlace>

export interface NodeState extends NodePlace {
  readonly url: string
  readonly replicatorPid: number | undefined
  readonly enginePid: number | undefined
}

export type Half = 'engine' | 'replicator'

/** The ports that everything looks at by default; a cluster takes them for its first node if they are free. */
const usualPorts = { httpPort: 8091, enginePort: 8090, peerPort: 8092, nbdPort: 10809 }
const portNames = ['httpPort', 'enginePort', 'peerPort', 'nbdPort'] as const

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
      const taken = file.nodes.flatMap((node) => portNames.map((name) => node[name]))
      const ports = await choosePorts(index === 1, taken)
      file.nodes.push({ index, directory: join(this.directory, `node${String(index)}`), ...ports })
    }
    writeFileSync(this.#path, `${JSON.stringify(file, undefined, 2)}\n`)
    await Promise.all(file.nodes.map((node) => this.start(node.index)))
    await this.#acquainted(file.nodes)
    return this.list()
  }

  /** @throws {ClusterError} there is no cluster in the directory */
  list(): NodeState[] {
    const file = this.#read()
    if (file === undefined)
      throw new ClusterError(`no cluster in ${this.directory}; cloudfs dev up makes one`)
    return file.nodes.map(stateOf)
  }

  node(index: number): NodeState {
    const found = this.list().find((each) => each.index === index)
    if (found !== undefined) return found
    throw new UsageError(`the cluster has no node ${String(index)}`)
  }

  /** Starts a node's replicator, which starts its engine; does nothing if it runs. Resolves when it is ready. */
  async start(index: number): Promise<NodeState> {
    const node = this.node(index)
    if (node.replicatorPid === undefined) this.#spawn(node)
    await this.#ready(node)
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

  #read(): z.output<typeof ClusterFile> | undefined {
    if (!existsSync(this.#path)) return undefined
    try {
      return ClusterFile.parse(JSON.parse(readFileSync(this.#path, 'utf8')))
    } catch (cause) {
      throw new ClusterError(`${this.#path}: is no cluster's`, { cause })
    }
  }

  #spawn(node: NodePlace): void {
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
    }
    const others = nodes.filter(({ index }) => index !== node.index)
    try {
      const args = Object.entries(flags).map(([name, value]) => `--${name}=${String(value)}`)
      const peers = others.map(({ httpPort }) => `127.0.0.1:${String(httpPort)}`)
      const heap = `--max-semi-space-size=${String(SEMI_SPACE_MIB)}`
      const child = spawn(process.execPath, [heap, program, 'replicator', ...peers, ...args], {
        detached: true,
        stdio: ['ignore', log, log],
      })
      child.unref()
    } finally {
      closeSync(log)
    }
  }

  async #ready(node: NodePlace): Promise<void> {
    await until(
      READY_TIMEOUT_MS,
      `node ${String(node.index)} is not ready; see ${node.directory}/replicator.log`,
      () =>
        fetch(`${urlOf(node)}/readyz`).then(
          ({ ok }) => ok,
          () => false,
        ),
    )
  }

  async #acquainted(nodes: readonly NodePlace[]): Promise<void> {
    await until(READY_TIMEOUT_MS, 'the nodes do not find each other', async () => {
      const known = await Promise.all(nodes.map((node) => new NodeClient({ url: urlOf(node) }).call('nodes')))
      return known.every((each) => each.filter(({ state }) => state === 'up').length >= nodes.length)
    })
  }
}

function urlOf({ httpPort }: NodePlace): string {
  return `http://127.0.0.1:${String(httpPort)}`
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

async function until(timeoutMs: number, what: string, isSo: () => Promise<boolean>): Promise<void> {
  const giveUpMs = performance.now() + timeoutMs
  while (!(await isSo())) {
    if (performance.now() > giveUpMs) throw new ClusterError(what)
    await delay(POLL_MS)
  }
}

type Ports = Pick<NodePlace, (typeof portNames)[number]>

async function choosePorts(isFirst: boolean, taken: readonly number[]): Promise<Ports> {
  if (isFirst && (await Promise.all(Object.values(usualPorts).map(isFree))).every(Boolean)) return usualPorts
  const ports = await freePorts(portNames.length, taken)
  const [httpPort = 0, enginePort = 0, peerPort = 0, nbdPort = 0] = ports
  return { httpPort, enginePort, peerPort, nbdPort }
}

function listen(port: number): Promise<{ port: number; close: () => Promise<void> } | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => {
      resolve(undefined)
    })
    server.listen(port, '127.0.0.1', () => {
      const address = server.address()
      const close = (): Promise<void> =>
        new Promise((closed) =>
          server.close(() => {
            closed()
          }),
        )
      resolve({ port: typeof address === 'object' ? (address?.port ?? 0) : 0, close })
    })
  })
}

async function isFree(port: number): Promise<boolean> {
  const server = await listen(port)
  await server?.close()
  return server !== undefined
}

/** Held open together, so that they differ. */
async function freePorts(count: number, taken: readonly number[]): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count + taken.length }, () => listen(0)))
  const ports = servers.flatMap((each) => (each === undefined ? [] : [each.port]))
  await Promise.all(servers.flatMap((each) => (each === undefined ? [] : [each.close()])))
  return ports.filter((port) => !taken.includes(port)).slice(0, count)
}
