/**
 * `GET /blocks?VOLUME`: a volume's bytes, a piece at a time. Each piece is of one committed version. The first one's is the
 * answer's ETag; later ones are of that version or, while others write, a newer one.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { VersionId } from '@cloudfs/interface'
import { drained } from '../drained.js'
import { type BlockSource, gone, sourceNow } from './block-source.js'
import { type ByteRange, rangeOfGet } from './byte-range.js'
import { etagOf, judgeGet } from './conditions.js'
import type { StoreService } from '../store-service.js'
import { pieceEnd } from './pieces.js'

interface Piece {
  readonly version: VersionId
  readonly bytes: Buffer
}

/** What is answered, while the volume is at a version. */
interface Plan {
  readonly status: 200 | 206 | 304
  readonly range: ByteRange
}

export async function getBlocks(
  stores: readonly StoreService[],
  asked: BlockSource,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let source = asked
  for (;;) {
    const plan = planOf(source, request)
    if (plan.status === 304 || request.method === 'HEAD') {
      response.writeHead(plan.status, headersOf(source, plan))
      response.end()
      return
    }
    const { offset, length } = plan.range
    const first = await read(source, offset, pieceEnd(offset, offset + length))
    const readSource = { ...source, version: first.version }
    const before = JSON.stringify(plan)
    // Conditions are judged by the version that was read: if they say otherwise of it, the volume has moved since.
    if (first.version === source.version || JSON.stringify(planOf(readSource, request)) === before) {
      await send(readSource, plan, first, response)
      return
    }
    source = await sourceNow(stores, source)
  }
}

function planOf(source: BlockSource, { method, headers }: IncomingMessage): Plan {
  const { unmodified, ignoreRange } = judgeGet(headers, source.version)
  const all = { offset: 0, length: source.sizeBytes }
  if (unmodified) return { status: 304, range: all }
  // Range is for GET alone.
  const range = ignoreRange || method === 'HEAD' ? undefined : rangeOfGet(headers.range, source.sizeBytes)
  return range === undefined ? { status: 200, range: all } : { status: 206, range }
}

function headersOf(source: BlockSource, { status, range }: Plan): Record<string, string | number> {
  const { offset, length } = range
  const last = offset + length - 1
  return {
    ETag: etagOf(source.version),
    // To be kept, and asked about each time.
    'Cache-Control': 'no-cache',
    'X-CloudFS-Volume': source.volume,
    ...(status !== 304 && {
      'Accept-Ranges': 'bytes',
      'Content-Type': 'application/octet-stream',
      'Content-Length': length,
    }),
    ...(status === 206 && {
      'Content-Range': `bytes ${String(offset)}-${String(last)}/${String(source.sizeBytes)}`,
    }),
  }
}

/** @throws {UnknownVersionError} only one version was asked for, and it is no more */
async function read(source: BlockSource, offset: number, end: number): Promise<Piece> {
  const piece = await source.store.handle.read({ name: source.name, offset, length: end - offset })
  if (source.isFixed && piece.version !== source.version) throw gone(source.version)
  return piece
}

/** What fails in here ends the connection: the client sees that bytes are missing. */
async function send(source: BlockSource, plan: Plan, first: Piece, response: ServerResponse): Promise<void> {
  const closed = new AbortController()
  response.once('close', () => {
    closed.abort()
  })
  const end = plan.range.offset + plan.range.length
  response.writeHead(plan.status, headersOf(source, plan))
  let { bytes } = first
  for (let at = plan.range.offset; ;) {
    at += bytes.length
    // Not read further before this is taken.
    if (!response.write(bytes)) await drained(response, closed.signal)
    if (closed.signal.aborted) return
    if (at >= end) break
    bytes = (await read(source, at, pieceEnd(at, end))).bytes
  }
  response.end()
}
