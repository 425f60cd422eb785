/** A disk that every node of a cluster serves to a client of its own while hosts and links fail, and what must be in the end. */
import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { expect } from 'vitest'
import { type Cluster, IS_LONG } from './cluster.js'
import { NbdClient } from './nbd-client.js'
import { whyNoNamespaces } from './networked-cluster.js'
import { Nodes } from './nodes.js'
import { type DiskUser, SharedDisk } from './shared-disk.js'

const MIB = 1024 * 1024
const SIZE = 64 * MIB
/** What the clients use of it. */
const SHARED = MIB

/** What a test file of trials goes by; says on stderr why it is skipped, if it is. */
export function trialOfRun(): { seed: number; why: string | undefined; options: { timeout: number } } {
  const why = whyNoNamespaces()
  if (why !== undefined) console.error(why)
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
  return { seed, why, options: { timeout: IS_LONG ? 3_600_000 : 180_000 } }
}

interface TrialParts {
  readonly cluster: Cluster
  readonly nodes: Nodes
  readonly disk: SharedDisk
  readonly name: string
  readonly volume: string
  readonly users: readonly DiskUser[]
  readonly sockets: readonly string[]
}

export class Trial {
  readonly cluster: Cluster
  readonly nodes: Nodes
  readonly disk: SharedDisk
  readonly #name: string
  readonly #volume: string
  readonly #users: readonly DiskUser[]
  readonly #sockets: readonly string[]

  private constructor({ cluster, nodes, disk, name, volume, users, sockets }: TrialParts) {
    this.cluster = cluster
    this.nodes = nodes
    this.disk = disk
    this.#name = name
    this.#volume = volume
    this.#users = users
    this.#sockets = sockets
  }

  /** Makes a disk with a replica and a client at each node of the cluster. */
  static async begin(cluster: Cluster, seed: number, mode: 'quorum' | 'durable' = 'quorum'): Promise<Trial> {
    const nodes = await Nodes.of(cluster)
    const name = `shared-${mode}`
    const volume = await nodes.create(1, name, cluster.nodes.length, SIZE, mode)
    await nodes.isWhole(name, 1)
    const disk = new SharedDisk(SHARED, seed)
    const users: DiskUser[] = []
    const sockets: string[] = []
    for (const { index } of cluster.nodes) {
      const { socket } = await nodes.attach(index, name, { isShared: true, keepPrimary: true })
      sockets.push(socket)
      users.push(disk.use(socket))
    }
    return new Trial({ cluster, nodes, disk, name, volume, users, sockets })
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
    if ((await this.nodes.leaderOf(this.#name, index)) !== index)
      await this.nodes.migrate(index, this.#name, index)
    expect(await this.nodes.leaderOf(this.#name, index)).toBe(index)
  }

  /** The node that leads, as another sees it. */
  leader(from: number, not = 0): Promise<number> {
    return this.nodes.leaderOf(this.#name, from, not)
  }

  /** Until all replicas are in step and all clients are answered. */
  async whole(from = 1): Promise<void> {
    await this.nodes.isWhole(this.#name, from)
    await this.goOn(...this.cluster.nodes.map(({ index }) => index))
  }

  /** Fills the part of the disk that no client uses, at a node. */
  async burden(index: number): Promise<void> {
    const client = await NbdClient.connect(this.#sockets[index - 1] ?? '')
    for (let offset = SHARED; offset < SIZE; offset += MIB) await client.write(offset, randomBytes(MIB))
    client.close()
  }

  /**
   * Ends the clients of all disks of a cluster, and its nodes: replicas must be equal and sound, and what each holds on its
   * disk what the clients were told.
   */
  static async end(cluster: Cluster, ...trials: readonly Trial[]): Promise<void> {
    for (const trial of trials) {
      await trial.disk.stop()
      for (const { index } of cluster.nodes) await trial.nodes.detach(index, trial.#name)
      await cluster.equalHeads(trial.#volume, cluster.nodes.length)
    }
    await Promise.all(cluster.nodes.map(({ index }) => cluster.stopNode(index)))
    for (const { index, directory } of cluster.nodes) {
      const image = cluster.path(`node${String(index)}.raw`)
      await cluster.cloudfs('verify', '--store', `${directory}/store`)
      for (const trial of trials) {
        await cluster.cloudfs('export', trial.#name, image, '--store', `${directory}/store`)
        trial.disk.see(image)
        rmSync(image)
      }
    }
    for (const { disk } of trials) disk.judge()
  }
}
