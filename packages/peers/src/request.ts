/** A kind of request between replicators: its name and what may stand in it and in its answer. */
import assert from 'node:assert'
import { z } from 'zod'
import { NAME_BYTES_MAX, type Message } from './frame.js'

/**
 * Defined once, used by both ends: `node.request(host, kind, message)` and `node.handle(kind, handler)`. Both sides check
 * what they are sent against it.
 */
export interface RequestKind<Request, Answer> {
  readonly name: string
  readonly request: z.ZodType<Request>
  readonly answer: z.ZodType<Answer>
}

/** A message of plain bytes: `defineRequest('view/slice', z.object({…}), Bytes)`. */
export const Bytes = z.instanceof(Uint8Array)

/** @param name - lower-case words, `/` between them: `view/promise`; names that start with `peers/` are this package's */
export function defineRequest<Request extends Message, Answer extends Message>(
  name: string,
  request: z.ZodType<Request>,
  answer: z.ZodType<Answer>,
): RequestKind<Request, Answer> {
  assert(/^[a-z][a-z0-9/-]*$/.test(name) && name.length <= NAME_BYTES_MAX, `${name} names a request`)
  return { name, request, answer }
}
