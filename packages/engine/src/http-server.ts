/**
 * The engine's HTTP port. It carries requests to routes and their answers back; what a path means is the routes' own.
 * Whoever can reach the port may send anything: header sizes, times and connections are bounded, what is not HTTP gets a
 * JSON error like everything else that is refused, and none of it reaches the stores.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import { type AddressInfo, isIPv4, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import {
  HttpMalformedError,
  HttpMethodError,
  HttpPathError,
  HttpUpgradeError,
  listenErrorOf,
  VolumeId,
} from '@cloudfs/interface'
import type { Logger } from 'pino'
import { failBody } from './blocks/body-reader.js'
import { stopReading } from './follow/surrender-socket.js'
import { type HttpReply, replyOf } from './http-error.js'
import { hasBody, letBodyGo } from './unread-body.js'

/** Request line and headers; past this the answer is 431. */
const HTTP_HEADER_BYTES_MAX = 8 * 1024
/** From the first byte of a request to the end of its headers; then 408. */
const HEADERS_TIMEOUT_MS = 10_000
/** How often both are looked at. */
const TIMEOUT_CHECK_MS = 2_000
/** Open connections that are not streams between engines; more are closed unread. */
const CONNECTIONS_MAX = 1024

/** `query`: what stands behind `?`, as it is. */
export type GetRoute = (query: string) => Promise<HttpReply>
/**
 * Answers by itself, or returns what to answer, or throws, having written nothing; what it throws later ends the
 * connection. A body is read only if the route does so; a client that waits for it (`Expect: 100-continue`) has to be told.
 */
export type RawRoute = (
  request: IncomingMessage,
  query: string,
  response: ServerResponse,
) => Promise<HttpReply | undefined>

/** A path whose connections become something else than HTTP. */
export interface UpgradeRoute {
  readonly protocol: string
  /**
   * Has a descriptor of the socket taken over, which is closed here once this has resolved; or throws, nothing having been
   * written. `early`: bytes that came behind the request; `preface`: the answer, which goes out first.
   */
  take(request: IncomingMessage, query: string, socket: Socket, early: Buffer, preface: Buffer): Promise<void>
}

export interface HttpServerOptions {
  readonly host: string
  /** 0 = any that is free. */
  readonly port: number
  readonly get: ReadonlyMap<string, GetRoute>
  /** By path, as are the upgrades. */
  readonly raw: ReadonlyMap<string, RawRoute>
  readonly upgrade: ReadonlyMap<string, UpgradeRoute>
  readonly log: Logger
}

export class HttpServer {
  readonly #options: HttpServerOptions
  readonly #server: Server
  /** Those that are between HTTP and the stores. */
  readonly #upgrading = new Set<Socket>()
  #requests = 0

  private constructor(options: HttpServerOptions) {
    this.#options = options
    this.#server = createServer({
      maxHeaderSize: HTTP_HEADER_BYTES_MAX,
      headersTimeout: HEADERS_TIMEOUT_MS,
      // A body may take as long as it needs: whoever reads one minds that it comes.
      requestTimeout: 0,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    })
    this.#server.maxConnections = CONNECTIONS_MAX
    this.#server.on('request', (request, response) => {
      this.#answer(request, response)
    })
    // Without a listener Node would ask for the body before anybody has looked at the request.
    this.#server.on('checkContinue', (request, response) => {
      this.#answer(request, response)
    })
    this.#server.on('upgrade', (request, socket, head) => {
      // Of a server over TCP that is all it can be.
      if (socket instanceof Socket) this.#upgrade(request, socket, head)
      else socket.destroy()
    })
    this.#server.on('clientError', (error, socket) => {
      this.#refuseGarbage(error, socket)
    })
  }

  /** @throws {AddressInUseError}, {ListenError} */
  static async listen(options: HttpServerOptions): Promise<HttpServer> {
    const server = new HttpServer(options)
    await new Promise<void>((resolve, reject) => {
      const refuse = (error: Error): void => {
        reject(listenErrorOf('HTTP of the engine', options, error))
      }
      server.#server.once('error', refuse)
      server.#server.listen({ host: options.host, port: options.port }, () => {
        server.#server.off('error', refuse)
        resolve()
      })
    })
    const { host, port } = server.address
    options.log.info({ host, port }, 'serving HTTP')
    if (!isLoopback(host)) {
      options.log.warn({ host, port }, 'HTTP is reachable from other machines, unencrypted and open to all')
    }
    return server
  }

  get address(): { readonly host: string; readonly port: number } {
    const { address, port } = this.#server.address() as AddressInfo
    return { host: address, port }
  }

  /** Ends all connections, whatever they are at. Streams that the stores have taken over are no longer among them. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve()
      })
    })
    this.#server.closeAllConnections()
    for (const socket of this.#upgrading) socket.destroy()
    await closed
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const id = ++this.#requests
    const { log } = this.#options
    this.#route(request, response, id)
      .catch((error: unknown) => {
        log.info({ request: id, err: error }, 'an HTTP request failed')
        if (!response.headersSent) return replyOf(error)
        response.destroy()
        return undefined
      })
      .then((reply) => {
        return reply === undefined ? undefined : send(request, response, reply)
      })
      .catch((error: unknown) => {
        log.error({ request: id, err: error }, 'an HTTP answer could not be sent')
        response.destroy()
      })
  }

  /** @returns what to answer, unless the route has done it */
  async #route(
    request: IncomingMessage,
    response: ServerResponse,
    id: number,
  ): Promise<HttpReply | undefined> {
    const { path, query } = splitUrl(request.url)
    this.#options.log.debug(
      { request: id },
      `Processing ${request.method ?? ''} ${path} request for ${query}`,
    )
    const route = this.#options.get.get(path)
    if (route !== undefined) {
      if (request.method === 'GET' || request.method === 'HEAD') return route(query)
      throw new HttpMethodError(`${path} takes GET`, { headers: { Allow: 'GET, HEAD' } })
    }
    const raw = this.#options.raw.get(path)
    if (raw !== undefined) return raw(request, query, response)
    const upgrade = this.#options.upgrade.get(path)
    if (upgrade !== undefined) throw upgradeNeeded(path, upgrade.protocol)
    throw new HttpPathError(`nothing is served at ${JSON.stringify(path)}`)
  }

  #upgrade(request: IncomingMessage, socket: Socket, early: Buffer): void {
    const id = ++this.#requests
    const { log, upgrade } = this.#options
    const { path, query } = splitUrl(request.url)
    const wanted = String(request.headers.upgrade)
    log.debug({ request: id }, `Processing ${wanted} ${path} request for ${query}`)
    this.#upgrading.add(socket)
    socket.on('close', () => this.#upgrading.delete(socket))
    socket.on('error', (error) => {
      log.debug({ request: id, err: error }, 'a connection was lost at its upgrade')
    })
    // What comes next is for whoever takes the connection over.
    stopReading(socket)
    this.#handOver(request, { path, query, wanted }, upgrade.get(path), socket, early).catch(
      (error: unknown) => {
        log.info({ request: id, err: error }, 'an upgrade was refused')
        endWith(socket, replyOf(error))
      },
    )
  }

  async #handOver(
    request: IncomingMessage,
    { path, query, wanted }: { path: string; query: string; wanted: string },
    route: UpgradeRoute | undefined,
    socket: Socket,
    early: Buffer,
  ): Promise<void> {
    if (route === undefined) throw new HttpUpgradeError(`nothing is upgraded at ${JSON.stringify(path)}`)
    const { protocol } = route
    if (wanted !== protocol) throw upgradeNeeded(path, protocol)
    const answer = `HTTP/1.1 101 Switching Protocols\r\nUpgrade: ${protocol}\r\nConnection: Upgrade\r\n\r\n`
    await route.take(request, query, socket, early, Buffer.from(answer))
    socket.destroy()
  }

  #refuseGarbage(error: NodeJS.ErrnoException, socket: Duplex): void {
    this.#options.log.debug({ err: error }, 'not HTTP')
    if (failBody(socket, 'the body is not what its headers said')) return
    const reply = replyOf(new HttpMalformedError('not a request of HTTP/1.1'))
    const tooLong = error.code === 'HPE_HEADER_OVERFLOW'
    const tooSlow = /^ERR_HTTP_REQUEST_TIMEOUT$/.test(error.code ?? '')
    endWith(socket, tooLong ? { ...reply, status: 431 } : tooSlow ? { ...reply, status: 408 } : reply)
  }
}

/** The volume a query begins with. @throws {MalformedIdError} */
export function volumeOfQuery(query: string): VolumeId {
  return VolumeId.parse(query.split('&', 1)[0] ?? '')
}

/** Ends the connection too, if there is a body that nobody read. */
async function send(request: IncomingMessage, response: ServerResponse, reply: HttpReply): Promise<void> {
  if (!hasBody(request) || request.complete) {
    response.writeHead(reply.status, headersOf(reply))
    response.end(reply.body)
    return
  }
  response.writeHead(reply.status, { ...headersOf(reply), Connection: 'close' })
  response.write(reply.body)
  await letBodyGo(request)
  response.end()
}

function splitUrl(url = ''): { path: string; query: string } {
  const at = url.indexOf('?')
  return at < 0 ? { path: url, query: '' } : { path: url.slice(0, at), query: url.slice(at + 1) }
}

function upgradeNeeded(path: string, protocol: string): HttpUpgradeError {
  const headers = { Upgrade: protocol, Connection: 'Upgrade' }
  return new HttpUpgradeError(`${path} speaks ${protocol}, and nothing else is upgraded to`, { headers })
}

function headersOf({ type, headers, body }: HttpReply): Record<string, string | number> {
  return {
    'Content-Type': `${type}; charset=utf-8`,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    ...headers,
  }
}

/** The last answer on a connection that HTTP has let go of. */
function endWith(socket: Duplex, reply: HttpReply): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const headers = Object.entries({ ...headersOf(reply), Connection: 'close' })
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`)
  const status = `HTTP/1.1 ${reply.status} ${STATUS_CODES[reply.status] ?? ''}\r\n`
  socket.end(`${status}${lines.join('')}\r\n${reply.body}`, () => {
    socket.destroy()
  })
}

export function isLoopback(address: string): boolean {
  const plain = address.replace(/^::ffff:/, '')
  return plain === '::1' || (isIPv4(plain) && plain.startsWith('127.'))
}
