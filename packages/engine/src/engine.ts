/**
 * The engine process: its stores and its control socket. It keeps serving whatever becomes of those who command it, and
 * a store that fails leaves the others alone.
 */
import { resolve } from 'node:path'
import {
  type CoreEvent,
  type CoreParams,
  type EngineCommands,
  type EngineEvent,
  Stamp,
  type StoreStatus,
  StoreNotReadyError,
  UnknownStoreError,
  type VolumeId,
} from '@cloudfs/interface'
import type { Logger } from 'pino'
import { type Address, parseAddress } from './address.js'
import { applyRoute } from './apply-route.js'
import { blocksRoute } from './blocks/blocks-route.js'
import { Redirects } from './blocks/redirects.js'
import { type Answer, ControlServer, errorMessage } from './control-server.js'
import { dataRoutes } from './data-routes.js'
import { routeThere } from './endpoint/route-there.js'
import { sessionRoute } from './endpoint/session-route.js'
import { ExpectedLeads } from './follow/expected-leads.js'
import { FollowManager } from './follow/follow-manager.js'
import { recordsRoute } from './follow/records-route.js'
import { followKeyOf } from './follow/ticket.js'
import { keyAtLeader, TicketGate } from './follow/ticket-gate.js'
import { HttpServer } from './http-server.js'
import type { Request } from './requests.js'
import { requireFree } from './require-free.js'
import { StoreService } from './store-service.js'
import { streamRoute } from './stream-route.js'
import { findLeader } from './volume-lookup.js'

export interface EngineOptions {
  readonly stores: readonly string[]
  readonly socketPath: string
  /** Where it is remembered what is followed. */
  readonly followsPath: string
  readonly nbd?: { readonly host: string; readonly port: number }
  readonly http?: { readonly host: string; readonly port: number }
  readonly params: CoreParams
  /** Bytes a second that are read to find rot; 0 = only when asked for. */
  readonly scrubBytesPerSecond?: number
  readonly log: Logger
}

export class Engine {
  readonly #options: EngineOptions
  readonly #stores: StoreService[] = []
  /** Stores that could not even be opened. */
  readonly #unopened: StoreStatus[] = []
  /** Volumes by the sockets they are served at. */
  readonly #served = new Map<string, VolumeId>()
  #control: ControlServer | undefined
  #http: HttpServer | undefined
  #follows: FollowManager | undefined
  /** Lets nobody have a stream without a ticket. */
  readonly #gate = new TicketGate()
  readonly #expected = new ExpectedLeads()
  readonly #ending = new AbortController()
  /** Where the host's replicator serves HTTP, as it said last. */
  #replicator: Address | undefined

  private constructor(options: EngineOptions) {
    this.#options = options
  }

  /**
   * Opens all stores, listens for commands, and recovers the stores. Commands are answered while stores recover.
   *
   * @throws what opening the stores threw, if none could be opened; EADDRINUSE at the control socket;
   *   {AddressInUseError}, {ListenError} at a port
   */
  static async start(options: EngineOptions): Promise<Engine> {
    const engine = new Engine(options)
    await engine.#open()
    try {
      // Ports before the control socket: an engine that answers there has them.
      if (options.nbd !== undefined) await requireFree('NBD', options.nbd)
      await engine.#listenHttp()
      engine.#control = await ControlServer.listen({
        socketPath: options.socketPath,
        log: options.log,
        handler: (request) => engine.#handle(request),
      })
      await Promise.all(engine.#stores.map((store) => store.start()))
      engine.#follow().resume()
      await engine.#listenNbd()
    } catch (error) {
      await engine.stop()
      throw error
    }
    return engine
  }

  get stores(): readonly StoreStatus[] {
    return [...this.#stores.map(({ status }) => status), ...this.#unopened]
  }

  /** Stops all stores cleanly, then lets the control clients go. */
  async stop(): Promise<void> {
    this.#ending.abort()
    this.#expected.close()
    await Promise.all([this.#http?.close(), this.#follows?.close()])
    await Promise.all(this.#stores.map((store) => store.stop()))
    await this.#control?.close()
  }

  async #open(): Promise<void> {
    const { stores, params, scrubBytesPerSecond, log } = this.#options
    let first: unknown
    for (const path of stores.map((each) => resolve(each))) {
      try {
        const publish = (event: EngineEvent): void => {
          // A store's events are its core's, as they are.
          this.#expected.onEvent({ name: event.event, detail: event.detail } as CoreEvent)
          this.#control?.publish(event)
        }
        const options = {
          path,
          params,
          log: log.child({ store: path }),
          publish,
          ...(scrubBytesPerSecond === undefined ? {} : { scrubBytesPerSecond }),
        }
        this.#stores.push(await StoreService.open(options))
      } catch (error) {
        first ??= error
        const { code, message } = errorMessage(error)
        log.fatal({ err: error, store: path }, 'the store cannot be opened')
        this.#unopened.push({ path, state: 'failed', error: { code, message } })
      }
    }
    if (this.#stores.length === 0) throw first
  }

  async #listenHttp(): Promise<void> {
    const { http, log } = this.#options
    if (http === undefined) return
    const get = dataRoutes({ stores: this.#stores, status: () => this.stores })
    const redirects = new Redirects({
      stores: this.#stores,
      follows: () => this.#follow().status,
      replicator: () => this.#replicator,
    })
    const raw = new Map([
      ['/stream', streamRoute(this.#stores)],
      ['/blocks', blocksRoute(this.#stores, redirects)],
    ])
    const upgrade = new Map([
      ['/stream', recordsRoute(this.#stores, this.#gate, this.#expected)],
      ['/session', sessionRoute(this.#stores, this.#gate, this.#expected)],
      ['/apply', applyRoute(this.#stores)],
    ])
    this.#http = await HttpServer.listen({ ...http, get, raw, upgrade, log })
  }

  /** Made when it is first needed: the stores must be open. */
  #follow(): FollowManager {
    const { followsPath: path, log } = this.#options
    return (this.#follows ??= new FollowManager({ path, stores: this.#stores, log }))
  }

  async #listenNbd(): Promise<void> {
    const { nbd, log } = this.#options
    const store = this.#stores.find(({ status }) => status.state === 'ready')
    if (nbd === undefined || store === undefined) return
    const port = await store.handle.listenTcp(nbd)
    log.info({ host: nbd.host, port }, 'serving NBD')
  }

  async #handle(request: Request): Promise<Answer> {
    switch (request.verb) {
      case 'stores':
        return { result: this.stores }
      case 'subscribe':
        return { result: {} }
      case 'serve': {
        const { volume, socket, mode } = request.args
        const { handle } = this.#storeOf(request)
        if (this.#served.get(socket) === volume) return { result: {} }
        const address = { path: socket, ...(mode === undefined ? {} : { mode }) }
        await handle.listenUnix(address, volume)
        this.#served.set(socket, volume)
        return { result: {} }
      }
      case 'unserve':
        this.#served.delete(request.args.socket)
        return { result: { served: await this.#storeOf(request).handle.unlistenUnix(request.args.socket) } }
      case 'listen':
        return { result: { port: await this.#storeOf(request).handle.listenTcp(request.args) } }
      case 'http':
        return { result: this.#http?.address ?? {} }
      case 'follow-key': {
        const key = await this.#keyFor(request.args)
        return { result: { key: key.toString('hex'), nonce: this.#gate.challenge() } }
      }
      case 'expect-lead':
        this.#expected.expect(request.args.volume, {
          epoch: request.args.epoch,
          stamp: Stamp.parse(request.args.stamp),
        })
        return { result: {} }
      case 'follow-next':
        this.#follow().followNext(this.#storeOf(request), request.args)
        return { result: {} }
      case 'follow':
        await this.#follow().follow(this.#storeOf(request), request.args)
        return { result: {} }
      case 'unfollow':
        return { result: { followed: await this.#follow().unfollow(request.args.volume) } }
      case 'follows':
        return { result: this.#follow().status }
      case 'endpoint': {
        const { volume, session, socket, mode } = request.args
        const at = { path: socket, ...(mode === undefined ? {} : { mode }) }
        await this.#storeOf(request).handle.openEndpoint(at, volume, session)
        return { result: {} }
      }
      case 'route':
        await this.#route(this.#storeOf(request), request.args)
        return { result: {} }
      case 'end-endpoint':
        return { result: { ended: await this.#storeOf(request).handle.endEndpoint(request.args.volume) } }
      case 'endpoints':
        return { result: await this.#storeOf(request).handle.endpoints() }
      case 'replicator':
        this.#replicator = parseAddress(request.args.address)
        return { result: {} }
      case 'attach': {
        const store = this.#storeOf(request)
        return store.holders.change(request.args.volume, () => store.command('attach', request.args))
      }
      case 'shell-stats':
        return { result: await this.#storeOf(request).handle.stats() }
      case 'scrub-now':
        return { result: this.#storeOf(request).scrubNow() }
      case 'scrub-status':
        return { result: this.#storeOf(request).scrubStatus }
      default: {
        const answer = await this.#storeOf(request).command(request.verb, request.args, request.payload)
        if (request.verb === 'lead')
          this.#expected.elected(request.args.volume, Stamp.parse(request.args.stamp))
        return answer
      }
    }
  }

  async #keyFor(scope: EngineCommands['follow-key']['args']): Promise<Buffer> {
    const expected = this.#expected.of(scope.volume)
    if (expected !== undefined) return followKeyOf(expected.stamp, scope)
    return keyAtLeader(await findLeader(this.#stores, scope.volume), scope)
  }

  async #route(store: StoreService, { volume, session, to }: EngineCommands['route']['args']): Promise<void> {
    const { handle, status } = store
    if (to === 'here') return handle.routeHere(volume, session)
    const address = parseAddress(to.address)
    if (address === undefined || status.host === undefined)
      throw new UnknownStoreError('no address, or no host')
    const { signal } = this.#ending
    await routeThere({ ...to, handle, host: status.host, volume, session, address, signal })
  }

  #storeOf({ store }: Request): StoreService {
    if (store === undefined) {
      const only = this.#stores.length === 1 ? this.#stores[0] : undefined
      if (only !== undefined) return only
      throw new UnknownStoreError('there are several stores: the request names none')
    }
    const found = this.#stores.find((each) => each.isNamed(store))
    if (found !== undefined) return found
    if (this.#unopened.some(({ path }) => path === store)) {
      throw new StoreNotReadyError(`the store at ${store} could not be opened`)
    }
    throw new UnknownStoreError(`no such store: ${store}`, { store })
  }
}
