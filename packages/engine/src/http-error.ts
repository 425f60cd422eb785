/** Errors as HTTP tells them: a status and a JSON body, `{code, message}` (docs/errors.md). */
import { CloudfsError } from '@cloudfs/interface'
import { errorMessage } from './control-server.js'

/** Codes whose status is not 500. */
const STATUS: Readonly<Record<string, number>> = {
  ERR_MALFORMED_ID: 400,
  ERR_HTTP_MALFORMED: 400,
  ERR_HTTP_QUERY: 400,
  ERR_HTTP_RANGE: 400,
  ERR_HTTP_CONDITION: 400,
  ERR_HTTP_BODY: 400,
  ERR_HTTP_LENGTH: 411,
  ERR_VERSION_DIFFERS: 412,
  ERR_UPDATE_TOO_LONG: 413,
  ERR_RANGE_UNSATISFIABLE: 416,
  ERR_READ_ONLY: 403,
  ERR_UNKNOWN_SNAPSHOT: 404,
  ERR_AMBIGUOUS_NAME: 409,
  ERR_VOLUME_ATTACHED: 409,
  ERR_PRIMARY_UNKNOWN: 503,
  ERR_TOO_MANY_REQUESTS: 503,
  ERR_STORE_FULL: 507,
  ERR_TICKET: 401,
  ERR_NOT_LOCAL: 403,
  ERR_IS_MEMBER: 409,
  ERR_WITNESS: 409,
  ERR_IS_PRIMARY: 409,
  ERR_UNKNOWN_STORE: 400,
  ERR_UNKNOWN_VOLUME: 404,
  ERR_HTTP_PATH: 404,
  ERR_HTTP_METHOD: 405,
  ERR_HISTORY_GONE: 410,
  ERR_UNKNOWN_VERSION: 404,
  ERR_NOT_PRIMARY: 409,
  ERR_SESSION_ENDED: 409,
  ERR_HTTP_UPGRADE: 426,
  ERR_TOO_MANY_CLIENTS: 503,
  ERR_TOO_MANY_STREAMS: 503,
  ERR_NOT_READY: 503,
  ERR_STORE_NOT_READY: 503,
  ERR_STORE_CLOSED: 503,
  ERR_STORE_FAILED: 503,
}

export interface HttpReply {
  readonly status: number
  readonly type: 'text/plain' | 'application/json'
  readonly headers?: Readonly<Record<string, string>>
  readonly body: string
}

/** An error's `details.headers` go along: a challenge, the methods allowed. */
export function replyOf(error: unknown): HttpReply {
  const { code, message } = errorMessage(error)
  const headers = error instanceof CloudfsError ? error.details['headers'] : undefined
  return {
    status: STATUS[code] ?? 500,
    type: 'application/json',
    ...(headers === undefined ? {} : { headers: headers as Record<string, string> }),
    body: `${JSON.stringify({ code, message })}\n`,
  }
}
