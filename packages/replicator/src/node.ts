/**
 * A node: composes the policy half and speaks with its engine, which is another process and outlives it.
 */
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Answer } from '@cloudfs/http'
import { bytesToHex, type HostId, type StoreId, type StoreStatus } from '@cloudfs/interface'
import { HostKey, hostIdOf, PeerNode, type PeerMember } from '@cloudfs/peers'
import type { HostCandidate } from '@cloudfs/placement'
import type { Logger } from 'pino'
import type { Config } from './config.js'
import { DrainingMark } from './draining-mark.js'
import { engineAddressOf, hostAndPort } from './engine-address.js'
import { formatStore } from './engine-process.js'
import { EngineSupervisor } from './engine-supervisor.js'
import { HostIdMismatchError } from './errors.js'
import { handlersOf } from './handlers.js'
import { DirectoryHostBook } from './host-book.js'
import { HttpServer } from './http-server.js'
import { join as joinCluster } from './joining.js'
import type { Metrics } from './metrics.js'
import { takeNodeDirectory } from './node-lock.js'
import { Replication } from './replication.js'
import { keyDirectoryOf, mayFormat, trySuperblock } from './store-place.js'
import { COMMIT_TIMEOUT_MS_DEFAULT } from './volume-maker.js'

/** What others are told of free room is this old at most. */
const INFO_INTERVAL_MS = 5_000
/** Free room is told in steps: each change travels to every host. */
const FREE_STEP_BYTES = 16 * 1024 ** 2

/** Times that a node may be started with other ones than its own: tests use short ones. */
export interface NodeTimes {
  /** How long a majority may take to take a new volume; then it is given up. `COMMIT_TIMEOUT_MS_DEFAULT` */
  readonly commitTimeoutMs?: number
}

interface Identity {
  readonly host: HostId
  readonly key: HostKey
}

interface StoreFigures {
  readonly store: StoreId
  readonly capacityBytes: number
  readonly freeBytes: number
}

export class ReplicatorNode {
  readonly #config: Config
  readonly #times: NodeTimes
  readonly #log: Logger
  readonly #identity: Identity
  readonly #engine: EngineSupervisor
  readonly #closing = new AbortController()
  readonly #draining: DrainingMark
  #figures: StoreFigures | undefined
  /** Of the engine that is there. */
  #isStoreReady = false
  #peers: PeerNode | undefined
  #http: HttpServer | undefined
  #replication: Replication | undefined
  /** Where the engine's HTTP listens, as it says. */
  #engineHttp: { readonly host: string; readonly port: number }
  #joining: Promise<void> | undefined
  #metrics: Promise<Metrics> | undefined
  #timer: NodeJS.Timeout | undefined
  #letGo: (() => void) | undefined

  private constructor(config: Config, identity: Identity, log: Logger, times: NodeTimes) {
    this.#times = times
    this.#config = config
    this.#identity = identity
    this.#draining = new DrainingMark(config.directory)
    this.#log = log
    this.#engineHttp = { host: config.engineHttpHost, port: config.engineHttpPort }
    this.#engine = new EngineSupervisor(config, log.child({ part: 'engine' }))
  }

  /**
   * Starts the node: makes its store if there is none, finds or starts its engine, joins the cluster. Other nodes need
   * not be there. If it fails, nothing that it started runs on; an engine that it found does.
   *
   * @throws {NodeRunningError} another replicator uses the directory
   * @throws {HostIdMismatchError} the store is another host's
   * @throws {EngineStartError} the engine does not start, or the store cannot be made
   * @throws what listening fails with
   */
  static async start(config: Config, log: Logger, times: NodeTimes = {}): Promise<ReplicatorNode> {
    const letGo = await takeNodeDirectory(config.directory)
    let node: ReplicatorNode | undefined
    try {
      node = new ReplicatorNode(config, await identityOf(config), log, times)
      node.#letGo = letGo
      await node.#open()
      return node
    } catch (error) {
      if (node !== undefined) await node.#undo()
      letGo()
      throw error
    }
  }

  get host(): HostId {
    return this.#identity.host
  }

  /** Ports that were given as 0 are known now. */
  get httpPort(): number {
    return this.#http?.port ?? 0
  }

  /** Leaves the cluster; the engine goes on serving. May be called twice. */
  async close(): Promise<void> {
    await this.#shut()
    this.#letGo?.()
  }

  async #undo(): Promise<void> {
    await this.#shut()
    await this.#engine.undo()
  }

  async #shut(): Promise<void> {
    this.#closing.abort()
    clearInterval(this.#timer)
    await this.#http?.close()
    await this.#joining
    await this.#replication?.close()
    await this.#peers?.close()
    await this.#engine.close()
  }

  async #open(): Promise<void> {
    const { config, log } = { config: this.#config, log: this.#log }
    await this.#engine.start()
    this.#peers = await this.#startPeers()
    const replication = (this.#replication = new Replication({
      host: this.host,
      key: this.#identity.key,
      engine: this.#engine,
      peers: this.#peers,
      runDirectory: config.runDirectory,
      address: () => engineAddressOf(this.#engineHttp, this.#peers?.addresses ?? []),
      candidates: () => this.#candidates(),
      store: () => this.#engine.storeId,
      replaceAfterMs: config.replaceAfterSeconds * 1_000,
      draining: {
        isSet: () => this.#draining.isSet,
        set: async (isWanted) => {
          await this.#draining.set(isWanted)
          this.#peers?.update(this.#info())
        },
      },
      commitTimeoutMs: this.#times.commitTimeoutMs ?? COMMIT_TIMEOUT_MS_DEFAULT,
      log,
    }))
    this.#engine.on('event', ({ event, detail }) => {
      if (event === 'store-state' && (detail as StoreStatus).state === 'ready')
        this.#settle(this.#refresh(), 'the store cannot be measured')
    })
    this.#engine.on('down', () => {
      this.#isStoreReady = false
    })
    this.#engine.on('up', () => {
      this.#settle(this.#begin(), 'volumes are not all served')
      this.#settle(this.#tellAddress(), 'the engine does not know its replicator')
    })
    await this.#begin()
    const peers = this.#peers
    this.#http = await HttpServer.listen({
      host: config.httpHost,
      port: config.httpPort,
      version: VERSION,
      log,
      handlers: handlersOf({
        self: () => this.#describeSelf(),
        nodes: () => this.#nodes(),
        scrub: (verb) => this.#engine.result(verb, {}),
        catalogue: this.#replication.catalogue,
        creation: this.#replication.creation,
        volumes: this.#replication.volumes,
        attachments: this.#replication.attachments,
        membership: this.#replication.membership,
        evacuation: this.#replication.evacuation,
        forcing: this.#replication.forcing,
      }),
      pages: {
        id: () => ({ host: this.host, json: this.#identityJson() }),
        peers: (host) => this.#peerLines(host),
        notReady: () => this.#notReady(),
        metrics: async () => (await (this.#metrics ??= this.#startMetrics(peers, replication))).text(),
        enginePort: () => this.#engineHttp.port,
        blocksAt: (query) => replication.blocks.locationOf(query),
      },
    })
    await this.#tellAddress()
    this.#peers.update(this.#info())
    this.#joining = joinCluster(config.peers, this.#peers, log, this.#closing.signal)
    this.#timer = setInterval(() => {
      this.#settle(this.#refresh(), 'the store cannot be measured')
    }, INFO_INTERVAL_MS)
  }

  /** When somebody asks for the first time: a node that nobody watches is spared the memory and the timers. */
  async #startMetrics(peers: PeerNode, replication: Replication): Promise<Metrics> {
    const metrics = await import('./metrics.js')
    return new metrics.Metrics(this.#engine, peers, replication.catchUp, () => replication.viewCounts)
  }

  async #startPeers(): Promise<PeerNode> {
    const { directory, peerHost, peerPort, mdns, dht, privateNetworkKey } = this.#config
    const peers = await PeerNode.start({
      key: this.#identity.key,
      hostId: this.host,
      info: this.#info(),
      book: new DirectoryHostBook(join(directory, 'hosts'), this.#log),
      listen: [`/ip${peerHost.includes(':') ? '6' : '4'}/${peerHost}/tcp/${String(peerPort)}`],
      mdns,
      dht,
      ...(privateNetworkKey !== undefined && { privateNetworkKey: await readFile(privateNetworkKey) }),
    })
    peers.on('member-up', ({ hostId }) => {
      this.#log.info({ host: hostId }, 'a host is up')
    })
    peers.on('member-down', ({ hostId }) => {
      this.#log.warn({ host: hostId }, 'a host is down')
    })
    peers.on('rejected', (error) => {
      this.#log.warn({ err: error }, 'news of a host was not taken')
    })
    peers.on('bug', (failure) => {
      this.#log.error({ err: failure.error, request: failure.request }, 'a bug')
    })
    peers.on('unsaved', (error) => {
      this.#log.error({ err: error }, 'a host could not be remembered')
    })
    return peers
  }

  /** An engine was found or started; if its store is not ready yet, an event says when it is. */
  async #begin(): Promise<void> {
    if ((await this.#engine.store())?.state !== 'ready') return
    await this.#refresh()
    await this.#replication?.begin()
  }

  /** The engine asks here for volumes that it does not hold. */
  async #tellAddress(): Promise<void> {
    if (this.#http === undefined || !this.#engine.isUp) return
    // From the same machine: an address that stands for all of its own is reached by the loopback one.
    const { httpHost } = this.#config
    const host = httpHost === '0.0.0.0' ? '127.0.0.1' : httpHost === '::' ? '::1' : httpHost
    await this.#engine.call('replicator', { address: hostAndPort(host, this.#http.port) })
  }

  async #refresh(): Promise<void> {
    if (!this.#engine.isUp) return
    const { host, port } = await this.#engine.result('http', {})
    if (host !== undefined && port !== undefined) this.#engineHttp = { host, port }
    await this.#measure()
    this.#peers?.update(this.#info())
  }

  async #measure(): Promise<void> {
    const status = await this.#engine.store()
    const superblock = trySuperblock(this.#config.store)
    if (status?.store === undefined || superblock === undefined || status.state !== 'ready') return
    const table = await this.#engine.result('segments', {})
    const { liveBytes = 0 } = await this.#engine.result('stats', {})
    const capacityBytes = (table.segments.length + table.free - table.reserved) * 2 ** superblock.segmentLog2
    const freeBytes = Math.max(0, capacityBytes - liveBytes)
    this.#isStoreReady = true
    this.#figures = {
      store: status.store,
      capacityBytes: Math.max(0, capacityBytes),
      freeBytes: Math.floor(freeBytes / FREE_STEP_BYTES) * FREE_STEP_BYTES,
    }
  }

  #info(): PeerMember['info'] {
    const figures = this.#figures
    return {
      zone: this.#config.zone,
      draining: this.#draining.isSet,
      stores:
        figures === undefined
          ? []
          : [{ storeId: figures.store, capacityBytes: figures.capacityBytes, freeBytes: figures.freeBytes }],
      httpPort: this.httpPort,
      enginePort: this.#engineHttp.port,
      version: VERSION,
    }
  }

  async #candidates(): Promise<HostCandidate[]> {
    await this.#measure()
    return this.#nodes().map(({ host, zone, state, draining, stores }) => ({
      host: host as HostId,
      zone,
      state,
      draining,
      stores: stores.map(({ store, ...figures }) => ({ store: store as StoreId, ...figures })),
    }))
  }

  #nodes(): Answer<'nodes'> {
    const members = this.#peers?.members() ?? []
    const others = members
      .sort((a, b) => (a.hostId < b.hostId ? -1 : 1))
      .map(({ hostId, state, seenAtMs, publicKey, addresses, info }) => ({
        host: hostId,
        isSelf: false,
        state,
        publicKey: bytesToHex(publicKey),
        addresses: [...addresses],
        ...described(info),
        ...(seenAtMs !== undefined && { seenAtMs }),
      }))
    return [this.#describe(), ...others]
  }

  #describe(): Answer<'nodes'>[number] {
    return { ...this.#identityJson(), isSelf: true, state: 'up', ...described(this.#info()) }
  }

  #identityJson(): Pick<Answer<'self'>, 'host' | 'publicKey' | 'addresses' | 'version'> {
    const publicKey = bytesToHex(this.#identity.key.publicKey)
    return { host: this.host, publicKey, addresses: [...(this.#peers?.addresses ?? [])], version: VERSION }
  }

  async #describeSelf(): Promise<Answer<'self'>> {
    const status = this.#engine.isUp ? await this.#engine.store() : undefined
    return {
      ...this.#describe(),
      runDirectory: this.#config.runDirectory,
      engine: {
        isUp: this.#engine.isUp,
        starts: this.#engine.starts,
        ...(status !== undefined && { storeState: status.state }),
        ...(status?.error !== undefined && { error: status.error }),
      },
    }
  }

  #peerLines(host: string | undefined): string[] | undefined {
    const nodes = this.#nodes().filter((each) => (host === undefined ? !each.isSelf : each.host === host))
    if (host !== undefined && nodes.length === 0) return undefined
    return nodes.map(({ host: id, state, addresses }) => [id, state, ...addresses].join(' '))
  }

  #notReady(): string | undefined {
    if (!this.#engine.isUp) return 'the engine is away'
    return this.#isStoreReady ? undefined : 'the store is not ready'
  }

  /** Work that nobody waits for: its failure is logged. */
  #settle(work: Promise<void>, what: string): void {
    work.catch((error: unknown) => {
      if (!this.#closing.signal.aborted) this.#log.error({ err: error }, what)
    })
  }
}

const VERSION = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
).version

function described(
  info: PeerMember['info'],
): Omit<Answer<'nodes'>[number], 'host' | 'isSelf' | 'state' | 'publicKey' | 'addresses'> {
  const { zone, draining, stores, httpPort, enginePort, version } = info
  return {
    zone,
    draining,
    version,
    httpPort,
    enginePort,
    stores: stores.map(({ storeId, capacityBytes, freeBytes }) => ({
      store: storeId,
      capacityBytes,
      freeBytes,
    })),
  }
}

/** Who this host is: the store's word counts; a new store gets the id given, or the hash of the key. */
async function identityOf(config: Config): Promise<Identity> {
  const key = await HostKey.loadOrCreate(keyDirectoryOf(config.store, config.directory))
  const superblock = trySuperblock(config.store)
  if (superblock === undefined) {
    const host = config.hostId ?? hostIdOf(key.publicKey)
    if (mayFormat(config.store)) await formatStore(config, host)
    return { host, key }
  }
  if (config.hostId !== undefined && config.hostId !== superblock.host) {
    throw new HostIdMismatchError(
      `the store at ${config.store} belongs to host ${superblock.host}, and this node is to be ${config.hostId}`,
      { store: config.store, host: superblock.host, given: config.hostId },
    )
  }
  return { host: superblock.host, key }
}
