/**
 * `/blocks?VOLUME`: a volume's bytes by plain HTTP, read and written at its primary; every other node sends there. Bytes
 * pass through JavaScript here, and here alone: it is for tools, not for VMs.
 */
import { HttpMethodError, TooManyRequestsError } from '@cloudfs/interface'
import type { HttpReply } from '../http-error.js'
import type { RawRoute } from '../http-server.js'
import type { StoreService } from '../store-service.js'
import { decodeReference, findSource } from './block-source.js'
import { getBlocks } from './get-blocks.js'
import { putBlocks } from './put-blocks.js'
import type { Redirects } from './redirects.js'

/** Requests at once, of one engine. Each holds two pieces of PIECE_BYTES at most, and for a moment their copies. */
const BLOCKS_REQUESTS_MAX = 32

const METHODS = ['GET', 'HEAD', 'PUT']

export function blocksRoute(stores: readonly StoreService[], redirects: Redirects): RawRoute {
  let open = 0
  return async (request, query, response) => {
    const method = request.method ?? ''
    if (!METHODS.includes(method)) {
      throw new HttpMethodError(`/blocks takes ${METHODS.join(', ')}`, {
        headers: { Allow: METHODS.join(', ') },
      })
    }
    if (open >= BLOCKS_REQUESTS_MAX) {
      const headers = { 'Retry-After': '1' }
      throw new TooManyRequestsError(`${String(open)} requests for blocks are under way`, { headers })
    }
    open++
    try {
      return await answer()
    } finally {
      open--
    }

    async function answer(): Promise<HttpReply | undefined> {
      const [text = '', ...marks] = query.split('&')
      const source = await findSource(stores, decodeReference(text))
      if (source?.isPrimary !== true) return redirects.away(source, decodeReference(text), marks)
      if (method === 'PUT') await putBlocks(source, request, response)
      else await getBlocks(stores, source, request, response)
      return undefined
    }
  }
}
