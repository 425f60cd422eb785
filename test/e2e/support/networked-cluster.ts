/**
 * A cluster whose nodes are hosts of their own in the network: namespaces, whose links a test cuts (scripts/hosts). The test
 * reaches every node all the time, as an operator on the spot would. Needs root, or what the kernel takes for it.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Cluster } from './cluster.js'
import { runTool } from './run-tool.js'

const hosts = new URL('../../../scripts/hosts', import.meta.url).pathname
/** Of every node: each has an address of its own. */
const PORTS = { httpPort: 8091, enginePort: 8090, peerPort: 8092, nbdPort: 10809 }

/** Why there can be no namespaces here; undefined: there can. */
export function whyNoNamespaces(): string | undefined {
  const { status, stderr } = spawnSync('unshare', ['--net', 'true'], { encoding: 'utf8' })
  if (status === 0) return undefined
  return `SKIPPED, which proves nothing: network namespaces are not permitted here (root is needed): ${stderr}`
}

export class NetworkedCluster extends Cluster {
  #namespaces: string[] = []

  override async up(count: number, storeSize?: string): Promise<this> {
    const lines = (await runTool(hosts, 'up', String(count))).stdout.trimEnd().split('\n')
    this.#namespaces = lines.map((line) => line.split(' ')[0] ?? '')
    await this.prepare(count)
    const nodes = lines.map((line, at) => ({
      index: at + 1,
      directory: this.place(at + 1),
      address: line.split(' ')[1],
      within: this.within(at + 1),
      ...PORTS,
    }))
    mkdirSync(this.directory, { recursive: true })
    writeFileSync(
      join(this.directory, 'cluster.json'),
      JSON.stringify({ storeSize: storeSize ?? '640M', nodes }),
    )
    return super.up(count, storeSize)
  }

  /** Before any node is started. */
  protected prepare(_count: number): Promise<void> {
    return Promise.resolve()
  }

  /** A node's directory. */
  protected place(index: number): string {
    return this.path(`node${String(index)}`)
  }

  /** What starts a node's processes where they belong. */
  protected within(index: number): string[] {
    return ['ip', 'netns', 'exec', this.namespace(index)]
  }

  /** Node `to` no longer hears the others named; they still hear it. */
  async lose(to: number, ...from: readonly number[]): Promise<void> {
    await runTool(hosts, 'lose', this.namespace(to), ...from.map((index) => this.namespace(index)))
  }

  async hear(to: number, ...from: readonly number[]): Promise<void> {
    await runTool(hosts, 'hear', this.namespace(to), ...from.map((index) => this.namespace(index)))
  }

  /** No packet passes between these nodes and all others; among them they do. */
  async cutOff(...indexes: readonly number[]): Promise<void> {
    await this.#eachPair(indexes, (a, b) => this.lose(a, ...b))
  }

  async rejoin(...indexes: readonly number[]): Promise<void> {
    await this.#eachPair(indexes, (a, b) => this.hear(a, ...b))
  }

  /** What the node sends waits for its turn, up to 2 s. */
  async slow(index: number, rate: string): Promise<void> {
    await runTool(hosts, 'slow', this.namespace(index), rate)
  }

  override async dispose(): Promise<void> {
    try {
      await super.dispose()
    } finally {
      await runTool(hosts, 'down')
    }
  }

  protected namespace(index: number): string {
    const found = this.#namespaces[index - 1]
    if (found === undefined) throw new Error(`no host ${String(index)}`)
    return found
  }

  async #eachPair(
    indexes: readonly number[],
    act: (to: number, from: readonly number[]) => Promise<void>,
  ): Promise<void> {
    const others = this.nodes.map(({ index }) => index).filter((index) => !indexes.includes(index))
    for (const index of indexes) await act(index, others)
    for (const other of others) await act(other, indexes)
  }
}
