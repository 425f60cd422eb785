/** A local cluster of real processes, commanded by the command line alone, as an operator does. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { VolumeStatus } from '@cloudfs/interface'
import { EngineClient } from '@cloudfs/replicator'
import { expect } from 'vitest'
import { endTools } from './run-tool.js'

const run = promisify(execFile)
const repository = new URL('../../..', import.meta.url).pathname
const PROGRAM = join(repository, 'packages/cli/bin/cloudfs.js')
const BUILT = join(repository, 'packages/cli/dist/program.js')
/** `npm ci` puts `cloudfs` here. */
const BINARIES = join(repository, 'node_modules/.bin')
const OUTPUT_BYTES_MAX = 64 * 1024 ** 2

/** Replicas of the disks in scenarios, where there are as many nodes. */
export const REPLICAS = 3

/** At the big count with CLOUDFS_TEST_LONG=1. */
export const IS_LONG = process.env['CLOUDFS_TEST_LONG'] === '1'

/** How long a cluster may take to do what a test waits for; it takes about a second. */
export const PATIENCE = { timeout: 60_000, interval: 50 }

export interface ClusterNode {
  readonly index: number
  readonly directory: string
  readonly url: string
  readonly httpPort: number
  readonly enginePort: number
  readonly peerPort: number
  readonly nbdPort: number
  readonly enginePid?: number
  readonly replicatorPid?: number
}

export interface Disk {
  readonly volume: string
  /** Of its attachment at the first node. */
  readonly uri: string
  readonly socket: string
}

/** Everything lies in `directory`, which `dispose` removes after it has ended every process. */
export class Cluster {
  readonly directory = mkdtempSync(join(tmpdir(), 'cloudfs-scenario-'))
  readonly #children = new Set<ChildProcess>()
  nodes: readonly ClusterNode[] = []

  /** Starts nodes 1 to `count`. */
  async up(count: number, storeSize = '640M'): Promise<this> {
    if (!existsSync(BUILT)) throw new Error('the command line is not built: run "npm run build"')
    this.nodes = await this.#dev('up', '--nodes', String(count), '--store-size', storeSize)
    return this
  }

  get first(): ClusterNode {
    return this.node(1)
  }

  node(index: number): ClusterNode {
    const found = this.nodes.find((each) => each.index === index)
    if (found === undefined) throw new Error(`no node ${String(index)}`)
    return found
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  /** What a shell of an operator of node `index` has. */
  environment(index = 1): NodeJS.ProcessEnv {
    return {
      ...process.env,
      PATH: `${BINARIES}:${process.env['PATH'] ?? ''}`,
      CLOUDFS_NODE: new URL(this.node(index).url).host,
      XDG_STATE_HOME: this.path('state'),
    }
  }

  /** Runs a command at the first node. @returns its stdout, without the newline */
  cloudfs(...args: readonly string[]): Promise<string> {
    return this.at(1, ...args)
  }

  /** Runs a command at a node. @throws an error with `code`, `stdout` and `stderr` if it does not exit with 0 */
  async at(index: number, ...args: readonly string[]): Promise<string> {
    const options = { env: this.environment(index), cwd: this.directory, maxBuffer: OUTPUT_BYTES_MAX }
    return (await run(process.execPath, [PROGRAM, ...args], options)).stdout.trimEnd()
  }

  /** Runs a line of a shell at a node, with pipes and all. */
  async shell(line: string, index = 1): Promise<string> {
    const options = { env: this.environment(index), cwd: this.directory, maxBuffer: OUTPUT_BYTES_MAX }
    return (await run('bash', ['-euo', 'pipefail', '-c', line], options)).stdout.trimEnd()
  }

  /** Starts a command that is ended by the test, or by `dispose`. */
  start(line: string): ChildProcess {
    const child = spawn('bash', ['-c', `exec ${line}`], {
      env: this.environment(),
      cwd: this.directory,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#children.add(child)
    return child
  }

  async startNode(index: number): Promise<void> {
    await this.#dev('start', String(index))
    this.nodes = await this.#dev('ls')
  }

  /** A node as it is now: the supervisor may have started another engine. */
  async reload(index: number): Promise<ClusterNode> {
    this.nodes = await this.#dev('ls')
    return this.node(index)
  }

  async stopNode(index: number): Promise<void> {
    await this.#dev('stop', String(index))
  }

  async kill(index: number, half?: 'engine' | 'replicator'): Promise<void> {
    await this.#dev('kill', String(index), ...(half === undefined ? [] : [`--${half}`]))
  }

  /** Makes a disk with all the replicas there are, and attaches it at the first node. */
  async disk(size: string, name: string): Promise<Disk> {
    const volume = await this.cloudfs('newdisk', String(this.#replicaCount()), '--size', size, '--name', name)
    return this.attach(volume)
  }

  async attach(reference: string): Promise<Disk> {
    const { volume, uri, socket } = JSON.parse(await this.cloudfs('attach', reference, '--json')) as Disk
    return { volume, uri, socket }
  }

  /** The version each node's own replica is at, of the nodes that have one. */
  async heads(volume: string): Promise<string[]> {
    const heads = await Promise.all(
      this.nodes.map(async (node) =>
        (await held(node)).find((each) => each.volume === volume && each.established && !each.deleted),
      ),
    )
    return heads.flatMap((each) => each?.version ?? [])
  }

  /** Waits until all replicas are there and equal. @returns the version they are at */
  async equalHeads(volume: string, replicas = this.#replicaCount()): Promise<string> {
    let heads: string[] = []
    try {
      await expect
        .poll(async () => {
          heads = await this.heads(volume)
          return [heads.length, new Set(heads).size]
        }, PATIENCE)
        .toEqual([replicas, 1])
    } catch (error) {
      console.error(await this.#situation(volume))
      throw error
    }
    return heads[0] ?? ''
  }

  /** What each node has of a volume, and had to say of late, for a test that fails. */
  async #situation(volume: string): Promise<string> {
    const nodes = this.nodes.map(async (node) => {
      const all = await held(node).catch((error: unknown) => String(error))
      const has = typeof all === 'string' ? all : all.filter((each) => each.volume === volume)
      const log = readFileSync(join(node.directory, 'replicator.log'), 'utf8').trimEnd().split('\n')
      return [`== node ${String(node.index)}: ${JSON.stringify(has)}`, ...log.slice(-40)].join('\n')
    })
    return (await Promise.all(nodes)).join('\n')
  }

  /** Ends every process, whatever state it is in, and removes all files. */
  async dispose(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL')
    endTools()
    if (existsSync(join(this.directory, 'cluster.json'))) {
      for (const { index } of await this.#dev('ls')) await this.kill(index)
    }
    rmSync(this.directory, { recursive: true, force: true })
  }

  /** What the nodes had to say, for a test that fails. */
  logs(): string {
    return this.nodes
      .flatMap(({ directory }) => ['replicator.log', 'engine.log'].map((name) => join(directory, name)))
      .map((path) => (existsSync(path) ? `== ${path}\n${readFileSync(path, 'utf8')}` : ''))
      .join('\n')
  }

  #replicaCount(): number {
    return Math.min(REPLICAS, this.nodes.length)
  }

  async #dev(...args: readonly string[]): Promise<ClusterNode[]> {
    const { stdout } = await run(process.execPath, [
      PROGRAM,
      'dev',
      ...args,
      '--dir',
      this.directory,
      '--json',
    ])
    return stdout === '' ? [] : (JSON.parse(stdout) as ClusterNode[])
  }
}

/** All that is in a node's store, as its engine says. */
async function held({ directory }: ClusterNode): Promise<readonly VolumeStatus[]> {
  const socketPath = join(directory, 'run', 'engine.sock')
  const engine = await EngineClient.connect({ socketPath, onEvent: () => undefined })
  try {
    return (await engine.call('volumes', { all: true })).result
  } finally {
    await engine.close()
  }
}
