/**
 * A cluster of nodes on this machine, as benchmarks of fail-over break it: through the command line, by signals, and by packets that
 * are dropped. Each node is in a network namespace of its own (scripts/hosts), so this needs root.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { runTool } from './tool.js'

const cloudfs = fileURLToPath(new URL('../../packages/cli/bin/cloudfs.js', import.meta.url))
const hosts = fileURLToPath(new URL('../../scripts/hosts', import.meta.url))
/** Of every node: each has an address of its own. */
const PORTS = { httpPort: 8091, enginePort: 8090, peerPort: 8092, nbdPort: 10809 }
/** A question costs two nodes a few ms of processor time, which is measured along: it is asked again after this share of the time passed. */
const POLL_SHARE = 1 / 20
const POLL_MS_MIN = 50
const POLL_MS_MAX = 500
const PATIENCE_MS = 60_000

const Node = z.object({
  index: z.int(),
  url: z.string(),
  enginePid: z.int().optional(),
  replicatorPid: z.int().optional(),
})
const Volume = z.object({
  primary: z.string(),
  isServing: z.boolean(),
  replicas: z.array(z.object({ host: z.string(), state: z.string(), role: z.string() })),
})

export class BenchCluster {
  readonly #directory: string
  #nodes: readonly z.output<typeof Node>[] = []
  /** Of the nodes, in their order. */
  #hosts: readonly string[] = []
  #namespaces: readonly string[] = []

  private constructor(directory: string) {
    this.#directory = directory
  }

  static async up(directory: string, count: number, storeBytes: number): Promise<BenchCluster> {
    const cluster = new BenchCluster(directory)
    try {
      await cluster.#connect(count, storeBytes)
      cluster.#nodes = z
        .array(Node)
        .parse(await cluster.#dev('up', `--nodes=${String(count)}`, `--store-size=${String(storeBytes)}`))
      cluster.#hosts = await Promise.all(
        cluster.#nodes.map(async ({ url }) => (await (await fetch(`${url}/id`)).text()).trim()),
      )
      return cluster
    } catch (error) {
      await cluster.down()
      throw error
    }
  }

  async down(): Promise<void> {
    for (const { index } of this.#nodes) this.signal(index, 'SIGCONT')
    try {
      if (this.#nodes.length > 0) await this.#dev('down')
    } finally {
      await runTool(hosts, 'down')
    }
    rmSync(this.#directory, { recursive: true, force: true })
  }

  /** A command line at a node. @returns what it says with `--json` */
  async at(index: number, ...args: readonly string[]): Promise<unknown> {
    const node = this.#node(index).url.replace('http://', '')
    return JSON.parse(await runTool(process.execPath, cloudfs, '--json', '--node', node, ...args))
  }

  /** Asks a node's API. */
  async ask<Shape extends z.ZodType>(
    shape: Shape,
    index: number,
    path: string,
    body?: object,
    method = body === undefined ? 'GET' : 'POST',
  ): Promise<z.output<Shape>> {
    const answer = await fetch(`${this.#node(index).url}/v1/${path}`, {
      method,
      headers: body === undefined ? {} : { 'content-type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
    })
    if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`)
    return shape.parse(await answer.json())
  }

  /** No packet passes between a node and the others any more. */
  async cutOff(index: number): Promise<void> {
    await this.#eachPair(index, 'lose')
  }

  async rejoin(index: number): Promise<void> {
    await this.#eachPair(index, 'hear')
  }

  /** Both processes of a node. */
  signal(index: number, name: NodeJS.Signals): void {
    const { enginePid, replicatorPid } = this.#node(index)
    for (const pid of [enginePid, replicatorPid]) {
      try {
        if (pid !== undefined) process.kill(pid, name)
      } catch {
        // It has ended.
      }
    }
  }

  async start(index: number): Promise<void> {
    await this.#dev('start', String(index))
    this.#nodes = z.array(Node).parse(await this.#dev('ls'))
  }

  /** The id of a node's host. */
  host(index: number): string {
    return this.#hosts[index - 1] ?? ''
  }

  /** The node that leads the volume, as node `from` sees it; 0: nobody. */
  async primary(from: number, volume: string): Promise<number> {
    const { primary, isServing } = await this.ask(Volume, from, `volumes/${volume}`)
    return isServing ? this.#hosts.indexOf(primary) + 1 : 0
  }

  /** Has that node lead the volume. */
  async lead(from: number, volume: string, index: number): Promise<void> {
    if ((await this.primary(from, volume)) === index) return
    await this.ask(z.unknown(), from, `volumes/${volume}/migrate`, { host: this.host(index) })
  }

  /** Until the volume is served, and all its replicas are in step. */
  async whole(from: number, volume: string): Promise<void> {
    await this.#until('the volume does not become whole', async () => {
      const { isServing, replicas } = await this.ask(Volume, from, `volumes/${volume}`)
      return isServing && replicas.every(({ state }) => state === 'in-step')
    })
  }

  /** The nodes that keep the volume. */
  async members(from: number, volume: string): Promise<number[]> {
    const { replicas } = await this.ask(Volume, from, `volumes/${volume}`)
    return replicas.map(({ host }) => this.#hosts.indexOf(host) + 1)
  }

  /** Until a node that joins keeps the volume as any other, in step. */
  async replaced(from: number, volume: string, index: number): Promise<void> {
    await this.#until('the new replica does not come in step', async () => {
      const { replicas } = await this.ask(Volume, from, `volumes/${volume}`)
      return replicas.find(({ host }) => host === this.host(index))?.state === 'in-step'
    })
  }

  /** @returns when node `from` first heard that a node follows the volume: as `performance.now()` tells it */
  async heard(from: number, volume: string, index: number): Promise<number> {
    await this.#until('nobody hears of the node', async () => {
      const { replicas } = await this.ask(Volume, from, `volumes/${volume}`)
      return replicas.some(({ host, state }) => host === this.host(index) && state !== 'away')
    })
    return performance.now()
  }

  /** What other engines have sent a node's since that was started. */
  async streamBytesReceived(index: number): Promise<number> {
    const text = await (await fetch(`${this.#node(index).url}/metrics`)).text()
    const value = /^cloudfs_\w*stream_bytes_received\w* (\S+)$/m.exec(text)?.[1]
    if (value === undefined) throw new Error('a node does not tell what its streams have brought')
    return Number(value)
  }

  async #until(complaint: string, isSo: () => Promise<boolean>): Promise<void> {
    const beganMs = performance.now()
    while (!(await isSo())) {
      const passedMs = performance.now() - beganMs
      if (passedMs > PATIENCE_MS) throw new Error(complaint)
      await delay(Math.min(Math.max(passedMs * POLL_SHARE, POLL_MS_MIN), POLL_MS_MAX))
    }
  }

  async #connect(count: number, storeBytes: number): Promise<void> {
    const lines = (await runTool(hosts, 'up', String(count))).trimEnd().split('\n')
    const places = lines.map((line) => line.split(' '))
    this.#namespaces = places.map(([namespace = '']) => namespace)
    const nodes = places.map(([namespace, address], at) => ({
      index: at + 1,
      directory: join(this.#directory, `node${String(at + 1)}`),
      address,
      within: ['ip', 'netns', 'exec', namespace],
      ...PORTS,
    }))
    mkdirSync(this.#directory, { recursive: true })
    const file = { storeSize: String(storeBytes), nodes }
    writeFileSync(join(this.#directory, 'cluster.json'), JSON.stringify(file))
  }

  async #eachPair(index: number, what: 'lose' | 'hear'): Promise<void> {
    const one = this.#namespaces[index - 1] ?? ''
    const others = this.#namespaces.filter((each) => each !== one)
    await runTool(hosts, what, one, ...others)
    for (const other of others) await runTool(hosts, what, other, one)
  }

  #node(index: number): z.output<typeof Node> {
    const node = this.#nodes.find((each) => each.index === index)
    if (node === undefined) throw new Error(`no node ${String(index)}`)
    return node
  }

  async #dev(...args: readonly string[]): Promise<unknown> {
    const text = await runTool(
      process.execPath,
      cloudfs,
      '--json',
      'dev',
      ...args,
      `--dir=${this.#directory}`,
    )
    return text.trim() === '' ? undefined : JSON.parse(text)
  }
}
