/**
 * The node's HTTP: the JSON API by its table, and the few paths that are plain text. What belongs to the engine's half is
 * redirected there.
 */
import { isIPv6 } from 'node:net'
import { isCloudfsError, listenErrorOf } from '@cloudfs/interface'
import {
  type Answer,
  type Body,
  openApiDocument,
  type Operation,
  type OperationName,
  operations,
  type Params,
} from '@cloudfs/http'
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify'
import type { Logger } from 'pino'
import { z } from 'zod'
import { BadRequestError } from './errors.js'

/** Of a request's body: nothing that the API takes is longer. */
const BODY_BYTES_MAX = 64 * 1024
/** A connection that sends nothing for this long is closed. */
const IDLE_TIMEOUT_MS = 75_000
const REQUEST_TIMEOUT_MS = 30_000

/** Carries out each operation of the API. */
export type Handlers = {
  readonly [Name in OperationName]: (input: {
    readonly params: Params<Name>
    readonly body: Body<Name>
  }) => Promise<Answer<Name>> | Answer<Name>
}

/** What the plain paths show. */
interface PlainPages {
  /** `/id`: JSON for those who accept it. */
  id(): { readonly host: string; readonly json: object }
  /** `/peers?HOST`: lines; `undefined`: no such host. */
  peers(host: string | undefined): string[] | undefined
  /** Why the node is not ready; `undefined`: it is. */
  notReady(): string | undefined
  metrics(): Promise<string>
  /** The port of the engine's HTTP. */
  enginePort(): number
  /** Where a request for `/blocks?QUERY` goes. */
  blocksAt(query: string): Promise<string>
}

export interface HttpServerOptions {
  readonly host: string
  readonly port: number
  readonly handlers: Handlers
  readonly pages: PlainPages
  readonly version: string
  readonly log: Logger
}

/** Statuses of codes that are not a caller's mistake of the plain kind. */
const statuses: Readonly<Record<string, number>> = {
  ERR_UNKNOWN_VOLUME: 404,
  ERR_UNKNOWN_SNAPSHOT: 404,
  ERR_UNKNOWN_HOST: 404,
  ERR_NOT_ATTACHED: 404,
  ERR_UNKNOWN_VERSION: 410,
  ERR_AMBIGUOUS_NAME: 409,
  ERR_VOLUME_ATTACHED: 409,
  ERR_VOLUME_BUSY: 409,
  ERR_VOLUME_EXISTS: 409,
  ERR_SNAPSHOT_EXISTS: 409,
  ERR_NOT_PRIMARY: 409,
  ERR_BAD_REQUEST: 400,
  ERR_MALFORMED_ID: 400,
  ERR_MALFORMED_QUANTITY: 400,
  ERR_REPLICA_COUNT: 400,
  ERR_TOO_FEW_HOSTS: 503,
  ERR_SET_CHANGE: 503,
  ERR_LAST_REPLICA: 409,
  ERR_FORCE_REFUSED: 409,
  ERR_CREATION_GIVEN_UP: 503,
  ERR_HOLDER_UP: 409,
  ERR_NO_MAJORITY: 503,
  ERR_TOO_MANY_HOLDERS: 409,
  ERR_ENGINE_GONE: 503,
  ERR_STORE_NOT_READY: 503,
  ERR_PRIMARY_AWAY: 503,
  ERR_PEER_UNREACHABLE: 503,
  ERR_PEER_TIMEOUT: 504,
  ERR_STORE_FULL: 507,
}

/** Paths of the engine's half. */
const enginePaths = ['/heads', '/lsn', '/stream']

export class HttpServer {
  readonly #server: FastifyInstance
  readonly #options: HttpServerOptions

  private constructor(options: HttpServerOptions) {
    this.#options = options
    this.#server = fastify({
      loggerInstance: options.log,
      logController: new LogController({ disableRequestLogging: true }),
      bodyLimit: BODY_BYTES_MAX,
      connectionTimeout: IDLE_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      routerOptions: { maxParamLength: 1024 },
      forceCloseConnections: true,
    }) as unknown as FastifyInstance
    this.#build()
  }

  /** @throws {AddressInUseError}, {ListenError} */
  static async listen(options: HttpServerOptions): Promise<HttpServer> {
    const server = new HttpServer(options)
    try {
      await server.#server.listen({ host: options.host, port: options.port })
    } catch (error) {
      throw listenErrorOf('HTTP', options, error)
    }
    return server
  }

  get port(): number {
    const address = this.#server.server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  /** Finishes requests under way, lets idle connections go. */
  async close(): Promise<void> {
    await this.#server.close()
  }

  #build(): void {
    const server = this.#server
    // Without a listener Node would ask for any body at once.
    server.server.on('checkContinue', (request, response) => {
      if (request.url?.startsWith('/blocks') !== true) response.writeContinue()
      server.server.emit('request', request, response)
    })
    server.setValidatorCompiler(({ schema }) => (data: unknown) => {
      const parsed = (schema as unknown as z.ZodType).safeParse(data)
      if (parsed.success) return { value: parsed.data }
      return { error: new BadRequestError(z.prettifyError(parsed.error)) }
    })
    server.setSerializerCompiler(() => (value) => JSON.stringify(value))
    server.addHook('onRequest', (request, _reply, done) => {
      const { volume, name } = request.params as { volume?: string; name?: string }
      const what = volume ?? name ?? request.url
      request.log.info(`Processing ${request.method} request for ${what}`)
      done()
    })
    server.setErrorHandler((error, request, reply) => {
      answerError(error, request, reply)
    })
    server.setNotFoundHandler((request, reply) =>
      reply
        .code(404)
        .send({ code: 'ERR_NOT_FOUND', message: `nothing is at ${request.method} ${request.url}` }),
    )
    for (const name of Object.keys(operations) as OperationName[]) this.#addOperation(name)
    this.#addPlain()
  }

  #addOperation(name: OperationName): void {
    const operation: Operation = operations[name]
    const { params, body } = operation
    // The table ties each handler to its operation; the loop over it cannot.
    const handler = this.#options.handlers[name] as (input: object) => unknown
    this.#server.route({
      method: operation.method,
      url: operation.path.replace(/\{(\w+)\}/g, ':$1'),
      schema: { ...(params && { params }), ...(body && { body }) },
      handler: async (request, reply) => {
        const answer = await handler({ params: request.params, body: request.body })
        return reply.code(operation.status).send(answer)
      },
    })
  }

  #addPlain(): void {
    const server = this.#server
    const { pages, version } = this.#options
    const document = openApiDocument(version)
    server.get('/v1/openapi.json', () => document)
    server.get('/id', (request, reply) => {
      const { host, json } = pages.id()
      return wantsJson(request) ? reply.send(json) : reply.type('text/plain').send(`${host}\n`)
    })
    server.get('/peers', (request, reply) => {
      const host = /\?([^&=]+)/.exec(request.url)?.[1]
      const lines = pages.peers(host)
      if (lines !== undefined) return reply.type('text/plain').send(lines.map((line) => `${line}\n`).join(''))
      return reply
        .code(404)
        .send({ code: 'ERR_UNKNOWN_HOST', message: `no host ${host ?? ''} is known here` })
    })
    server.get('/healthz', (_request, reply) => reply.type('text/plain').send('ok\n'))
    server.get('/readyz', (_request, reply) => {
      const why = pages.notReady()
      return reply
        .code(why === undefined ? 200 : 503)
        .type('text/plain')
        .send(`${why ?? 'ok'}\n`)
    })
    server.get('/metrics', async (_request, reply) =>
      reply.type('text/plain; version=0.0.4; charset=utf-8').send(await pages.metrics()),
    )
    for (const path of enginePaths) {
      server.all(path, (request, reply) => {
        const name = request.hostname
        const host = isIPv6(name) ? `[${name}]` : name
        return reply.redirect(`http://${host}:${String(pages.enginePort())}${request.url}`, 307)
      })
    }
    server.all('/blocks', {
      // Before the body is read; what of it comes nevertheless is thrown away.
      onRequest: async (request, reply) => {
        const at = request.url.indexOf('?')
        return reply.redirect(await pages.blocksAt(at < 0 ? '' : request.url.slice(at + 1)), 307)
      },
      handler: (_request, reply) => reply,
    })
  }
}

function wantsJson(request: FastifyRequest): boolean {
  return request.headers.accept?.includes('application/json') === true
}

function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const { statusCode } = error as { statusCode?: number }
  if (isCloudfsError(error)) {
    request.log.info({ err: error }, 'refused')
    const { code, message, details } = error
    const status = statuses[code] ?? 500
    reply.code(status).send({ code, message, ...(Object.keys(details).length > 0 && { details }) })
  } else if (error instanceof Error && statusCode !== undefined && statusCode < 500) {
    // Fastify's own: a body that is no JSON, too long, or of another type.
    reply.code(statusCode).send({ code: 'ERR_BAD_REQUEST', message: error.message })
  } else {
    request.log.error({ err: error }, 'a bug')
    reply.code(500).send({ code: 'ERR_INTERNAL', message: "a bug; the node's log has its stack" })
  }
}
