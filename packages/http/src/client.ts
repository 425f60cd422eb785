/** Asks a node's HTTP API. */
import { CloudfsError, type ErrorDetails } from '@cloudfs/interface'
import {
  type Answer,
  type BodyInput,
  ErrorBody,
  type Operation,
  type OperationName,
  operations,
  type Params,
} from './api.js'

/** Longer than any request is under way at a healthy node. */
export const REQUEST_TIMEOUT_MS_DEFAULT = 60_000

/** An error that a node answered with, under its own code. */
export class NodeError extends CloudfsError {
  readonly code: string

  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(message, details)
    this.code = code
  }
}

/** Nothing answers at the node's address. */
export class NodeUnreachableError extends CloudfsError {
  readonly code = 'ERR_NODE_UNREACHABLE'
}

/** What answered is no node, or of another version. */
export class NodeAnswerError extends CloudfsError {
  readonly code = 'ERR_NODE_ANSWER'
}

export interface NodeClientOptions {
  /** As in `http://127.0.0.1:8091`. */
  readonly url: string
  readonly timeoutMs?: number
}

export interface CallInput<Name extends OperationName> {
  readonly params?: Params<Name>
  readonly body?: BodyInput<Name>
  readonly signal?: AbortSignal
}

export class NodeClient {
  readonly url: string
  readonly #timeoutMs: number

  constructor({ url, timeoutMs = REQUEST_TIMEOUT_MS_DEFAULT }: NodeClientOptions) {
    this.url = url.replace(/\/+$/, '')
    this.#timeoutMs = timeoutMs
  }

  /**
   * Has the node carry out an operation of the API.
   *
   * @throws {NodeError} it refused or failed; the code is its own
   * @throws {NodeUnreachableError} nothing answers; what was asked may have been done if the connection broke
   * @throws {NodeAnswerError} the answer is not the operation's
   */
  async call<Name extends OperationName>(name: Name, input: CallInput<Name> = {}): Promise<Answer<Name>> {
    const operation: Operation = operations[name]
    const parameters: Readonly<Record<string, string>> = input.params ?? {}
    const path = operation.path.replace(/\{(\w+)\}/g, (_, key: string) =>
      encodeURIComponent(parameters[key] ?? ''),
    )
    const value = await this.get(path, {
      method: operation.method,
      ...(input.body === undefined ? {} : { body: input.body }),
      ...(input.signal === undefined ? {} : { signal: input.signal }),
    })
    const answer = operation.answer.safeParse(value)
    if (answer.success) return answer.data as Answer<Name>
    throw new NodeAnswerError(`${this.url}${path}: not the answer of a node of this version`, {
      cause: answer.error,
    })
  }

  /** The JSON at a path. @throws as `call` */
  async get(
    path: string,
    { method = 'GET', body, signal }: { method?: string; body?: unknown; signal?: AbortSignal } = {},
  ): Promise<unknown> {
    // A timer of its own, which keeps the process: fetch never settles where each connection is closed unread, and the
    // process would end with neither answer nor error.
    const timeout = new AbortController()
    const timer = setTimeout(() => {
      timeout.abort(new Error(`no answer in ${String(this.#timeoutMs)} ms`))
    }, this.#timeoutMs)
    let response: Response
    let text: string
    try {
      response = await fetch(`${this.url}${path}`, {
        method,
        headers: {
          accept: 'application/json',
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: signal === undefined ? timeout.signal : AbortSignal.any([timeout.signal, signal]),
      })
      text = await response.text()
    } catch (cause) {
      signal?.throwIfAborted()
      throw new NodeUnreachableError(`no node answers at ${this.url}: ${reasonOf(cause)}`, { cause })
    } finally {
      clearTimeout(timer)
    }
    const value = parse(text)
    if (response.ok && value !== undefined) return value
    const error = ErrorBody.safeParse(value)
    if (error.success && !response.ok) {
      throw new NodeError(error.data.code, error.data.message, error.data.details)
    }
    throw new NodeAnswerError(`${this.url}${path}: status ${String(response.status)}, not from a node`)
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return cause instanceof Error ? cause.message : String(cause)
}
