/** A disk that every node of a cluster serves to a client of its own while hosts and links fail, and what must be in the end. */
import { expect } from 'vitest'
import type { Cluster } from './cluster.js'
import { Nodes } from './nodes.js'
import { type DiskUser, SharedDisk } from './shared-disk.js'

const NAME = 'shared'
const SIZE = 1024 * 1024

export class Trial {
  readonly cluster: Cluster
  readonly nodes: Nodes
  readonly disk: SharedDisk
  readonly #volume: string
  readonly #users: readonly DiskUser[]

  private constructor(cluster: Cluster, nodes: Nodes, disk: SharedDisk, volume: string, users: DiskUser[]) {
    this.cluster = cluster
    this.nodes = nodes
    this.disk = disk
    this.#volume = volume
    this.#users = users
  }

  /** Makes a disk with a replica and a client at each node of the cluster. */
  static async begin(cluster: Cluster, seed: number): Promise<Trial> {
    const nodes = await Nodes.of(cluster)
    const volume = await nodes.create(1, NAME, cluster.nodes.length, SIZE)
    await nodes.isWhole(NAME, 1)
    const disk = new SharedDisk(SIZE, seed)
    const users: DiskUser[] = []
    for (const { index } of cluster.nodes) {
      const { socket } = await nodes.attach(index, NAME, { isShared: true, keepPrimary: true })
      users.push(disk.use(socket))
    }
    return new Trial(cluster, nodes, disk, volume, users)
  }

  at(index: number): DiskUser {
    const user = this.#users[index - 1]
    if (user === undefined) throw new Error(`no client ${String(index)}`)
    return user
  }

  /** Clients at these nodes are answered, however long it takes until they are. */
  async goOn(...indexes: readonly number[]): Promise<void> {
    await Promise.all(indexes.map((index) => this.at(index).goesOn()))
  }

  /** Has a node lead the disk. */
  async lead(index: number): Promise<void> {
    await this.whole(index)
    if ((await this.nodes.leaderOf(NAME, index)) !== index) await this.nodes.migrate(index, NAME, index)
    expect(await this.nodes.leaderOf(NAME, index)).toBe(index)
  }

  /** The node that leads, as another sees it. */
  leader(from: number, not = 0): Promise<number> {
    return this.nodes.leaderOf(NAME, from, not)
  }

  /** Until all replicas are in step and all clients are answered. */
  async whole(from = 1): Promise<void> {
    await this.nodes.isWhole(NAME, from)
    await this.goOn(...this.cluster.nodes.map(({ index }) => index))
    this.disk.judge()
  }

  /** Ends the clients: replicas must be equal and sound, and what each holds on its disk what the clients were told. */
  async end(): Promise<void> {
    await this.disk.stop()
    for (const { index } of this.cluster.nodes) await this.nodes.detach(index, NAME)
    await this.cluster.equalHeads(this.#volume)
    await Promise.all(this.cluster.nodes.map(({ index }) => this.cluster.stopNode(index)))
    for (const { index, directory } of this.cluster.nodes) {
      const image = this.cluster.path(`node${String(index)}.raw`)
      await this.cluster.cloudfs('verify', '--store', `${directory}/store`)
      await this.cluster.cloudfs('export', NAME, image, '--store', `${directory}/store`)
      this.disk.see(image)
    }
    this.disk.judge()
  }
}
