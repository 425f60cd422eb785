/**
 * Where requests for blocks go that are not for this engine: to the engine of the volume's primary, before their bodies are
 * read. This engine knows it of the volumes it follows; of others it asks the replicator of its host.
 *
 * No request goes round in circles: whoever sends one on, engine or replicator, sends it to an engine, with the mark
 * `hop=1`, and no engine sends on what carries the mark. So a request is sent on once, or twice if it began at a replicator
 * that did not know the volume. If it does not find the primary then, what was known is old: 503, and a later request
 * begins anew.
 */
import { request as ask } from 'node:http'
import {
  CloudfsError,
  type FollowStatus,
  HttpQueryError,
  PrimaryUnknownError,
  StoreNotReadyError,
  UnknownVolumeError,
} from '@cloudfs/interface'
import type { Address } from '../address.js'
import type { HttpReply } from '../http-error.js'
import type { StoreService } from '../store-service.js'
import { type BlockSource, referenceOf } from './block-source.js'

const HOP_MARK = 'hop=1'
/** The replicator may have to ask other hosts, each for 2 s. */
const ASK_MS_MAX = 6_000
/** Of its answer. */
const ANSWER_BYTES_MAX = 64 * 1024
/** Whoever is told that the primary is not known may try again then. */
const RETRY = { headers: { 'Retry-After': '1' } }

export interface RedirectsOptions {
  readonly stores: readonly StoreService[]
  readonly follows: () => readonly FollowStatus[]
  /** Where the host's replicator serves HTTP, if it ever said so. */
  readonly replicator: () => Address | undefined
}

/** What the replicator said instead of where the volume is; `code` is its own. */
class NotFoundByReplicatorError extends CloudfsError {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

export class Redirects {
  readonly #options: RedirectsOptions

  constructor(options: RedirectsOptions) {
    this.#options = options
  }

  /**
   * Sends a request on.
   *
   * @param source - what this engine holds of it
   * @param reference - what was asked for, decoded
   * @param marks - what stood behind it in the query
   * @throws {PrimaryUnknownError} it was sent here as to the primary, or nobody knows that
   * @throws {UnknownVolumeError} there is no such volume, as far as can be told
   * @throws {StoreNotReadyError} it may be here, in a store that is still recovering
   */
  async away(
    source: BlockSource | undefined,
    reference: string,
    marks: readonly string[],
  ): Promise<HttpReply> {
    const { stores } = this.#options
    if (marks.some((mark) => mark !== HOP_MARK)) throw new HttpQueryError(`not VOLUME: &${marks.join('&')}`)
    if (source === undefined && stores.some(({ status }) => status.state === 'starting')) {
      throw new StoreNotReadyError('a store is still recovering', RETRY)
    }
    if (marks.length > 0) {
      throw new PrimaryUnknownError(
        `this host is not the primary of ${reference}, though it was taken for it`,
        RETRY,
      )
    }
    const known = source && this.#followed(source)
    if (source !== undefined && known !== undefined) {
      // By its id: a name might mean another volume there.
      return redirectTo(`http://${known}/blocks?${encodeURIComponent(referenceOf(source))}&${HOP_MARK}`)
    }
    return redirectTo(await this.#asked(source === undefined ? reference : referenceOf(source)))
  }

  #followed({ volume, primary }: BlockSource): string | undefined {
    const follow = this.#options.follows().find((each) => each.volume === volume)
    return follow?.leader === primary ? follow.address : undefined
  }

  async #asked(reference: string): Promise<string> {
    const address = this.#options.replicator()
    if (address === undefined) throw new UnknownVolumeError(`no volume ${reference} is here`)
    let answer
    try {
      answer = await askReplicator(address, reference)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      throw new PrimaryUnknownError(
        `no volume ${reference} is here, and the replicator does not answer: ${why}`,
        {
          cause: error,
          ...RETRY,
        },
      )
    }
    const { status, location, text } = answer
    if (status === 307 && location !== undefined) return location
    const { code, message } = errorOf(text)
    if (status === 404 || status === 409) throw new NotFoundByReplicatorError(code, message)
    throw new PrimaryUnknownError(
      `no volume ${reference} is here, and the replicator does not know: ${message}`,
      RETRY,
    )
  }
}

function redirectTo(location: string): HttpReply {
  return { status: 307, type: 'text/plain', headers: { Location: location }, body: `${location}\n` }
}

function askReplicator(
  address: Address,
  reference: string,
): Promise<{ status: number; location: string | undefined; text: string }> {
  return new Promise((resolve, reject) => {
    const asked = ask(
      {
        ...address,
        path: `/blocks?${encodeURIComponent(reference)}`,
        agent: false,
        signal: AbortSignal.timeout(ASK_MS_MAX),
      },
      (answer) => {
        let text = ''
        answer.setEncoding('utf8')
        answer.on('data', (chunk: string) => {
          text += chunk
          if (text.length > ANSWER_BYTES_MAX) asked.destroy(new Error('its answer is too long'))
        })
        answer.on('error', reject)
        answer.on('end', () => {
          resolve({ status: answer.statusCode ?? 0, location: answer.headers.location, text })
        })
      },
    )
    asked.on('error', reject)
    asked.end()
  })
}

function errorOf(text: string): { code: string; message: string } {
  try {
    const { code, message } = JSON.parse(text) as { code?: unknown; message?: unknown }
    if (typeof code === 'string' && /^ERR_[A-Z0-9_]{1,60}$/.test(code)) {
      return { code, message: String(message).slice(0, 1000) }
    }
  } catch {
    // Whoever answers is no replicator.
  }
  return { code: 'ERR_PRIMARY_UNKNOWN', message: 'its answer is not that of a replicator' }
}
