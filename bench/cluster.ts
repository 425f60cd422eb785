/** A cluster of nodes on this machine, as benchmarks of fail-over break it: through the command line and by signals. */
import { rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { runTool } from './tool.js'

const cloudfs = fileURLToPath(new URL('../../packages/cli/bin/cloudfs.js', import.meta.url))
const POLL_MS = 50
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
  replicas: z.array(z.object({ host: z.string(), state: z.string() })),
})

export class BenchCluster {
  readonly #directory: string
  #nodes: readonly z.output<typeof Node>[] = []
  /** Of the nodes, in their order. */
  #hosts: readonly string[] = []

  private constructor(directory: string) {
    this.#directory = directory
  }

  static async up(directory: string, count: number, storeBytes: number): Promise<BenchCluster> {
    const cluster = new BenchCluster(directory)
    try {
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
    await this.#dev('down')
    rmSync(this.#directory, { recursive: true, force: true })
  }

  /** A command line at a node. @returns what it says with `--json` */
  async at(index: number, ...args: readonly string[]): Promise<unknown> {
    const node = this.#node(index).url.replace('http://', '')
    return JSON.parse(await runTool(process.execPath, cloudfs, '--json', '--node', node, ...args))
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

  /** The node that leads the volume, as node `from` sees it; 0: nobody. */
  async primary(from: number, volume: string): Promise<number> {
    const { primary, isServing } = Volume.parse(await this.at(from, 'info', volume))
    return isServing ? this.#hosts.indexOf(primary) + 1 : 0
  }

  /** Has that node lead the volume. */
  async lead(from: number, volume: string, index: number): Promise<void> {
    if ((await this.primary(from, volume)) === index) return
    await this.at(from, 'migrate', volume, this.#hosts[index - 1] ?? '')
  }

  /** Until the volume is served, and all its replicas are in step. */
  async whole(from: number, volume: string): Promise<void> {
    const giveUpMs = performance.now() + PATIENCE_MS
    for (;;) {
      const { isServing, replicas } = Volume.parse(await this.at(from, 'info', volume))
      if (isServing && replicas.every(({ state }) => state === 'in-step')) return
      if (performance.now() > giveUpMs) throw new Error('the volume does not become whole')
      await delay(POLL_MS)
    }
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
