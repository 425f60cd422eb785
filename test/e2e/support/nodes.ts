/** The nodes of a cluster by their JSON API, and what of a volume a test waits for. Numbers of nodes count from 1. */
import type { Answer } from '@cloudfs/http'
import { expect } from 'vitest'
import { type Cluster, PATIENCE } from './cluster.js'
import { NbdClient, NbdGoneError } from './nbd-client.js'

type Volume = Answer<'volume'>
type Attachment = Answer<'attach'>

/** How often a client that is not served comes back. */
const RECONNECT_MS = 20

export class Nodes {
  readonly #cluster: Cluster
  /** Ids, the first node's first. */
  readonly hosts: readonly string[]

  private constructor(cluster: Cluster, hosts: readonly string[]) {
    this.#cluster = cluster
    this.hosts = hosts
  }

  static async of(cluster: Cluster): Promise<Nodes> {
    const ids = cluster.nodes.map(async ({ url }) => (await (await fetch(`${url}/id`)).text()).trim())
    return new Nodes(cluster, await Promise.all(ids))
  }

  host(index: number): string {
    return this.hosts[index - 1] ?? ''
  }

  indexOf(host: string): number {
    return this.hosts.indexOf(host) + 1
  }

  /** @throws an error whose message has the code that the node answers with */
  async ask<Result>(
    index: number,
    path: string,
    body?: object,
    method = body ? 'POST' : 'GET',
  ): Promise<Result> {
    const answer = await fetch(`${this.#cluster.node(index).url}/v1/${path}`, {
      method,
      ...(body !== undefined && {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
    })
    if (!answer.ok) throw new Error(await answer.text())
    return (await answer.json()) as Result
  }

  find(index: number, volume: string): Promise<Volume> {
    return this.ask(index, `volumes/${volume}`)
  }

  async create(
    index: number,
    name: string,
    replicas: number,
    sizeBytes: number,
    mode: Volume['mode'] = 'quorum',
  ): Promise<string> {
    return (await this.ask<Answer<'newVolume'>>(index, 'volumes', { name, replicas, sizeBytes, mode })).volume
  }

  attach(index: number, volume: string, options: object = {}): Promise<Attachment> {
    return this.ask(index, 'attachments', { volume, ...options })
  }

  attached(index: number): Promise<Attachment[]> {
    return this.ask(index, 'attachments')
  }

  detach(index: number, volume: string): Promise<unknown> {
    return this.ask(index, `attachments/${volume}`, undefined, 'DELETE')
  }

  migrate(index: number, volume: string, to: number): Promise<unknown> {
    return this.ask(index, `volumes/${volume}/migrate`, { host: this.host(to) })
  }

  /** Both processes of a node. */
  signal(index: number, name: NodeJS.Signals): void {
    const { enginePid, replicatorPid } = this.#cluster.node(index)
    for (const pid of [enginePid, replicatorPid]) {
      try {
        if (pid !== undefined) process.kill(pid, name)
      } catch {
        // It has ended.
      }
    }
  }

  /** The node that leads, as another sees it, once one does. @param not - one that leads no more */
  async leaderOf(volume: string, from: number, not = 0): Promise<number> {
    let leader = 0
    await expect
      .poll(async () => {
        const { isServing, primary } = await this.find(from, volume)
        leader = isServing && this.indexOf(primary) !== not ? this.indexOf(primary) : 0
        return leader
      }, PATIENCE)
      .toBeGreaterThan(0)
    return leader
  }

  async isWhole(volume: string, from: number): Promise<void> {
    await expect
      .poll(async () => {
        const { replicas, isServing } = await this.find(from, volume)
        return isServing && replicas.every(({ state }) => state === 'in-step')
      }, PATIENCE)
      .toBe(true)
  }
}

/** Does something as a client that comes back whenever it is hung up, as QEMU does. */
async function served<Result>(socket: string, act: (client: NbdClient) => Promise<Result>): Promise<Result> {
  const giveUpMs = performance.now() + PATIENCE.timeout
  for (;;) {
    let client: NbdClient | undefined
    try {
      client = await NbdClient.connect(socket)
      return await act(client)
    } catch (error) {
      const isAway = error instanceof NbdGoneError || (error as NodeJS.ErrnoException).syscall === 'connect'
      if (!isAway || performance.now() > giveUpMs) throw error
    } finally {
      client?.close()
    }
    await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS))
  }
}

/** A block of one byte, written or held against what is there. */
export const write = (socket: string, byte: number, offset = 0): Promise<void> =>
  served(socket, (client) => client.write(offset, Buffer.alloc(BLOCK_BYTES, byte), true))

export const read = (socket: string, offset = 0): Promise<number> =>
  served(socket, async (client) => {
    const data = await client.read(offset, BLOCK_BYTES)
    const [byte = 0] = data
    if (!data.equals(Buffer.alloc(BLOCK_BYTES, byte))) throw new Error('a block is torn')
    return byte
  })

const BLOCK_BYTES = 65_536
