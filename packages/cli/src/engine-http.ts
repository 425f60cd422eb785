/** Asks a node's engine, which serves volumes' data over HTTP beside the node's own API. */
import { type NodeClient, NodeError, NodeUnreachableError } from '@cloudfs/http'
import { Option } from 'commander'
import { z } from 'zod'

const ErrorAnswer = z.object({ code: z.string(), message: z.string() })

/** `--engine`, of commands that speak with an engine. */
export function engineOption(): Option {
  return new Option('--engine <host:port>', 'an engine to ask, instead of the node’s')
}

/** Where a node's engine serves HTTP, as in `http://127.0.0.1:8090`. */
export async function engineUrl(client: NodeClient, engine: string | undefined): Promise<string> {
  if (engine !== undefined) return `http://${engine}`
  const { enginePort } = await client.call('self')
  const url = new URL(client.url)
  url.port = String(enginePort)
  return url.origin
}

/**
 * @throws {NodeError} the engine refused; the code is its own
 * @throws {NodeUnreachableError} nothing answers there
 */
export async function askEngine(url: string, path: string, signal?: AbortSignal): Promise<Response> {
  let response: Response
  try {
    response = await fetch(`${url}${path}`, signal === undefined ? {} : { signal })
  } catch (cause) {
    signal?.throwIfAborted()
    throw new NodeUnreachableError(`no engine answers at ${url}`, { cause })
  }
  if (response.ok) return response
  const error = ErrorAnswer.safeParse(await response.json().catch(() => undefined))
  if (error.success) throw new NodeError(error.data.code, error.data.message)
  throw new NodeUnreachableError(`what answers at ${url} is no engine: status ${response.status}`)
}
