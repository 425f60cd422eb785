/** Which bytes of a volume a request of /blocks means (RFC 9110, Range and Content-Range). */
import { HttpLengthError, HttpRangeError, RangeUnsatisfiableError } from '@cloudfs/interface'

/** Bytes [offset, offset + length). */
export interface ByteRange {
  readonly offset: number
  readonly length: number
}

/** What of a PUT's headers says where its body goes. */
export interface PutHeaders {
  readonly range: string | undefined
  readonly contentRange: string | undefined
  /** Left out: a chunked body. */
  readonly contentLength: number | undefined
}

/**
 * The part that a GET asks for; `undefined`: all of it. So are several ranges answered, which a server may always do, and
 * ranges in another unit than bytes, which it must ignore.
 *
 * @throws {RangeUnsatisfiableError} nothing of the range is there, or it is no range
 */
export function rangeOfGet(header: string | undefined, sizeBytes: number): ByteRange | undefined {
  const set = setOf(header)
  if (set === undefined || set.includes(',')) return undefined
  const { first, last } = partsOf(set) ?? fail(set, sizeBytes)
  if (first === undefined) {
    const length = Math.min(last ?? 0, sizeBytes)
    return length === 0 ? fail(set, sizeBytes) : { offset: sizeBytes - length, length }
  }
  if (first >= sizeBytes) return fail(set, sizeBytes)
  const end = Math.min(last ?? sizeBytes - 1, sizeBytes - 1)
  return end < first ? fail(set, sizeBytes) : { offset: first, length: end - first + 1 }
}

/**
 * Where a PUT writes: as Content-Range says, or Range (the original's way), or from the volume's beginning.
 *
 * @throws {HttpRangeError} the headers are wrong, or say different things
 * @throws {HttpLengthError} nothing says how much is to be written
 * @throws {RangeUnsatisfiableError} it would end beyond the volume
 */
export function rangeOfPut(headers: PutHeaders, sizeBytes: number): ByteRange {
  const { contentLength } = headers
  const content = contentRangeOf(headers.contentRange, sizeBytes)
  const range = putRangeOf(headers.range)
  if (content !== undefined && range !== undefined) {
    if (content.offset !== range.offset || content.length !== (range.length ?? content.length)) {
      throw new HttpRangeError('Content-Range and Range name different bytes')
    }
  }
  const { offset, length = contentLength } = content ?? range ?? { offset: 0 }
  if (length === undefined)
    throw new HttpLengthError('neither a range nor Content-Length says how much comes')
  if (contentLength !== undefined && contentLength !== length) {
    throw new HttpRangeError(`the range has ${String(length)} bytes, the body ${String(contentLength)}`)
  }
  if (length === 0) throw new HttpRangeError('there is nothing to write')
  if (offset + length > sizeBytes)
    throw unsatisfiable(`${String(offset)}-${String(offset + length - 1)}`, sizeBytes)
  return { offset, length }
}

function contentRangeOf(header: string | undefined, sizeBytes: number): ByteRange | undefined {
  if (header === undefined) return undefined
  const match = /^bytes (\d{1,16})-(\d{1,16})\/(\*|\d{1,16})$/.exec(header.trim())
  const [first, last] = [Number(match?.[1]), Number(match?.[2])]
  if (match === null || last < first || !Number.isSafeInteger(last)) {
    throw new HttpRangeError(`not 'bytes FIRST-LAST/*': ${JSON.stringify(header)}`)
  }
  if (match[3] !== '*' && Number(match[3]) !== sizeBytes) {
    throw new HttpRangeError(`the volume has ${String(sizeBytes)} bytes, not ${String(match[3])}`)
  }
  return { offset: first, length: last - first + 1 }
}

function putRangeOf(header: string | undefined): { offset: number; length?: number } | undefined {
  if (header === undefined) return undefined
  const { first, last } = partsOf(setOf(header) ?? '') ?? {}
  if (first === undefined || (last !== undefined && last < first)) {
    throw new HttpRangeError(`not 'bytes=FIRST-LAST' or 'bytes=FIRST-': ${JSON.stringify(header)}`)
  }
  return { offset: first, ...(last !== undefined && { length: last - first + 1 }) }
}

/** What stands behind `bytes=`; `undefined`: another unit, or no header. */
function setOf(header: string | undefined): string | undefined {
  return /^\s*bytes\s*=(.*)$/i.exec(header ?? '')?.[1]?.trim()
}

/** Without `first`: the last so many bytes. */
function partsOf(spec: string): { first?: number; last?: number } | undefined {
  const match = /^(\d{0,16})-(\d{0,16})$/.exec(spec)
  const [, first = '', last = ''] = match ?? []
  if (first === '' && last === '') return undefined
  const parts = { ...(first !== '' && { first: Number(first) }), ...(last !== '' && { last: Number(last) }) }
  return Object.values(parts).every((each) => Number.isSafeInteger(each)) ? parts : undefined
}

function fail(spec: string, sizeBytes: number): never {
  throw unsatisfiable(spec, sizeBytes)
}

function unsatisfiable(spec: string, sizeBytes: number): RangeUnsatisfiableError {
  return new RangeUnsatisfiableError(`the volume has ${String(sizeBytes)} bytes, and none at ${spec}`, {
    headers: { 'Content-Range': `bytes */${String(sizeBytes)}` },
  })
}
