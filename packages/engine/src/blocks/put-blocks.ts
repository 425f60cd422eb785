/**
 * `PUT /blocks?VOLUME`: writes a volume's bytes. Answered when a majority has synced them. Nothing of the body is read
 * before all is known that would refuse it.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import {
  CloudfsError,
  HttpBodyError,
  isCloudfsError,
  ReadOnlyError,
  UpdateTooLongError,
  type VersionId,
} from '@cloudfs/interface'
import type { BlockSource } from './block-source.js'
import { BodyReader } from './body-reader.js'
import { type ByteRange, rangeOfPut } from './byte-range.js'
import { differs, etagOf, expectedOfPut } from './conditions.js'
import { PIECE_BYTES, pieceEnd } from './pieces.js'

/** Blocks in one update, which is what a conditional write is: so it is there whole or not at all. */
const BLOCK_BYTES = 4096
const UPDATE_BLOCKS_MAX = PIECE_BYTES / BLOCK_BYTES

/** A write failed when a part of it had been done. */
class PartlyWrittenError extends CloudfsError {
  readonly code: string

  constructor(cause: CloudfsError, { offset, writtenBytes }: { offset: number; writtenBytes: number }) {
    const what = `${String(writtenBytes)} bytes from ${String(offset)} on are written`
    super(`${cause.message}; ${what}`, { cause, ...cause.details, writtenBytes })
    this.code = cause.code
  }
}

export async function putBlocks(
  source: BlockSource,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (source.isFixed) throw new ReadOnlyError(`a version is not written to: write to volume ${source.volume}`)
  const { headers } = request
  const range = rangeOfPut(
    {
      range: headers.range,
      contentRange: headers['content-range'],
      contentLength: lengthOf(request),
    },
    source.sizeBytes,
  )
  const expected = expectedOfPut(headers, source.version)
  if (expected !== undefined) requireOneUpdate(range)
  await source.store.holders.enter(source.volume, () => Promise.resolve())
  if (headers.expect !== undefined) response.writeContinue()
  const body = new BodyReader(request)
  try {
    const version = await write(source, range, body, expected)
    response.writeHead(204, { ETag: etagOf(version), 'X-CloudFS-Volume': source.volume })
    response.end()
  } finally {
    body.close()
  }
}

function lengthOf({ headers }: IncomingMessage): number | undefined {
  if (headers['transfer-encoding'] !== undefined) return undefined
  return Number(headers['content-length'] ?? 0)
}

/** @throws {UpdateTooLongError} */
function requireOneUpdate({ offset, length }: ByteRange): void {
  const blocks = Math.ceil((offset + length) / BLOCK_BYTES) - Math.floor(offset / BLOCK_BYTES)
  if (blocks <= UPDATE_BLOCKS_MAX) return
  throw new UpdateTooLongError(
    `a write with If-Match is one update, of at most ${String(UPDATE_BLOCKS_MAX)} blocks: this touches ${String(blocks)}`,
  )
}

/** @returns the version made by the last piece */
async function write(
  { store, volume, name }: BlockSource,
  { offset, length }: ByteRange,
  body: BodyReader,
  expected: VersionId | undefined,
): Promise<VersionId> {
  const end = offset + length
  let writtenBytes = 0
  try {
    for (let at = offset; ;) {
      // A conditional write is one piece, wherever it lies.
      const next = expected === undefined ? pieceEnd(at, end) : end
      const bytes = await body.take(next - at)
      if (bytes.length < next - at) {
        const came = at - offset + bytes.length
        throw new HttpBodyError(`the body ended after ${String(came)} bytes of ${String(length)}`)
      }
      const isLast = next === end
      if (isLast && (await body.take(1)).length > 0) {
        throw new HttpBodyError(`the body goes on behind its ${String(length)} bytes`)
      }
      const piece = { name, offset: at, bytes, fua: isLast, ...(expected !== undefined && { expected }) }
      const { version } = await store.holders.enter(volume, () => store.handle.write(piece))
      if (isLast) return version
      writtenBytes += bytes.length
      at = next
    }
  } catch (error) {
    if (expected !== undefined && isCloudfsLike(error, 'ERR_VERSION_DIFFERS')) throw differs(undefined)
    if (writtenBytes === 0 || !isCloudfsError(error)) throw error
    throw new PartlyWrittenError(error, { offset, writtenBytes })
  }
}

function isCloudfsLike(error: unknown, code: string): boolean {
  return isCloudfsError(error) && error.code === code
}
