/** Several engine processes that hold the replicas of one volume, joined as replicators would join them. */
import { randomBytes } from 'node:crypto'
import { encodeCreate, type Mode } from '@cloudfs/format'
import type { HostId, StoreId, VolumeId } from '@cloudfs/interface'
import { HostKey } from '@cloudfs/peers'
import { newView } from '@cloudfs/protocol'
import { expect, vi } from 'vitest'
import { EngineHost } from './engine-process.js'

export interface Member {
  readonly engine: EngineHost
  readonly key: HostKey
  readonly host: HostId
  readonly store: StoreId
  /** Of its HTTP; the same after each start. */
  port: number
}

export interface ClusterOptions {
  readonly size?: string
  /** Of each engine. */
  readonly args?: readonly string[]
}

/** How long replicas may take to become equal on a busy machine. */
const EQUAL_MS_MAX = 20_000

/** The first engine is the volume's primary. */
export class EngineCluster {
  readonly #members: Member[] = []
  readonly #args: readonly string[]
  #volume: VolumeId | undefined

  private constructor(args: readonly string[]) {
    this.#args = args
  }

  static async start(
    count: number,
    { size = '128M', args = [] }: ClusterOptions = {},
  ): Promise<EngineCluster> {
    const cluster = new EngineCluster(args)
    await Promise.all(
      Array.from({ length: count }, async () => {
        const engine = new EngineHost()
        const { host, store } = await engine.format({ size })
        cluster.#members.push({ engine, key: HostKey.generate(), host, store, port: 0 })
      }),
    )
    await Promise.all(cluster.#members.map((_, index) => cluster.launch(index)))
    return cluster
  }

  get volume(): VolumeId {
    if (this.#volume === undefined) throw new Error('no volume was made')
    return this.#volume
  }

  engine(index: number): EngineHost {
    return this.#at(index).engine
  }

  host(index: number): HostId {
    return this.#at(index).host
  }

  address(index: number): string {
    return `127.0.0.1:${this.#at(index).port}`
  }

  url(index: number): string {
    return `http://${this.address(index)}`
  }

  /** Starts an engine that was ended, at the port it had. */
  async launch(index: number): Promise<void> {
    const member = this.#at(index)
    await member.engine.start({ args: [`--http=127.0.0.1:${member.port}`, ...this.#args] })
    member.port = (await member.engine.client.call('http', {})).result.port ?? 0
  }

  /** Ends an engine as a crash would. */
  async kill(index: number): Promise<void> {
    await this.#at(index).engine.end('SIGKILL')
  }

  /** Makes the volume, of the first `copies` engines, `witness` one of them; resolves when its creation is committed. */
  async createVolume(
    sizeBytes: number,
    mode: Mode = 'quorum',
    copies = this.#members.length,
    witness?: number,
  ): Promise<VolumeId> {
    const primary = this.#at(0)
    const epoch = { counter: 1, host: primary.host }
    const nonce = randomBytes(16)
    const members = this.#members.slice(0, copies).map(({ host, store, key: { publicKey } }, index) => ({
      host,
      store,
      role: index === witness ? ('witness' as const) : ('data' as const),
      publicKey,
    }))
    const view = newView({ nonce, epoch, primary: primary.host, members }, (count) => randomBytes(count))
    const payload = encodeCreate({
      sizeBytes: BigInt(sizeBytes),
      mode,
      name: 'disk',
      nonce,
      view: view.payload,
    })
    const { client } = primary.engine
    const args = { stamp: view.stamp, payload: Buffer.from(payload).toString('hex'), epoch }
    const created = client.call('create', args)
    await vi.waitFor(async () => {
      this.#volume = (await client.call('volumes', { all: true })).result[0]?.volume
      expect(this.#volume).toBeDefined()
    })
    for (let index = 1; index < copies; index++) await this.follow(index)
    expect((await created).result.volume).toBe(this.#volume)
    return this.volume
  }

  /** What the replicators of both hosts do between them. */
  async follow(index: number, leader = 0): Promise<void> {
    const { volume } = this
    const { engine, host } = this.#at(index)
    const { key } = (
      await this.engine(leader).client.call('follow-key', { volume, host, protocol: 'cloudfs-records' })
    ).result
    const way = { leader: this.host(leader), address: this.address(leader) }
    await engine.client.call('follow', { volume, ...way, key })
  }

  get size(): number {
    return this.#members.length
  }

  member(index: number): Readonly<Member> {
    return this.#at(index)
  }

  /** @throws an Error: no engine is of this host */
  indexOf(host: HostId): number {
    const index = this.#members.findIndex((member) => member.host === host)
    if (index < 0) throw new Error(`no engine of host ${host}`)
    return index
  }

  /** Of each engine, as its HTTP says. */
  async heads(): Promise<string[]> {
    return Promise.all(
      this.#members.map(async (_, index) => (await fetch(`${this.url(index)}/heads`)).text()),
    )
  }

  /** Waits until all replicas are at the primary's head. */
  async headsAreEqual(): Promise<void> {
    await vi.waitFor(
      async () => {
        const [first, ...others] = await this.heads()
        expect(first).toContain(this.volume)
        expect(others).toEqual(others.map(() => first))
      },
      { timeout: EQUAL_MS_MAX, interval: 50 },
    )
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#members.map(({ engine }) => engine.dispose()))
  }

  #at(index: number): Member {
    const member = this.#members[index]
    if (member === undefined) throw new Error(`no engine ${index}`)
    return member
  }
}
