/** Requests of any length are carried out in pieces, each of which is held in memory once. */

/** A request holds no more than two of these: one that is read or written, one on its way to or from the client. */
export const PIECE_BYTES = 1024 * 1024

/** Where the piece that begins at `offset` ends: at a multiple of PIECE_BYTES, so that no block is in two. */
export function pieceEnd(offset: number, end: number): number {
  return Math.min(end, (Math.floor(offset / PIECE_BYTES) + 1) * PIECE_BYTES)
}
