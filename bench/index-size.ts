/** What the map of a store takes on disk, once a checkpoint has written all of it. */
import type { BareEngine } from './engine.js'

export interface IndexSize {
  /** Blocks that some volume has: an entry each. */
  readonly extents: number
  /** Of map pages and tables that the newest checkpoint reaches. */
  readonly indexBytes: number
}

const BLOCK_BYTES = 4096

/** Has a checkpoint made and looks. Nothing is to be written meanwhile. */
export async function indexSize({ client }: BareEngine): Promise<IndexSize> {
  await client.call('checkpoint', {})
  const { segments } = (await client.call('segments', {})).result
  const live = (isIndex: boolean): number =>
    segments
      .filter(({ kind, state }) => state !== 'free' && (kind === 'index') === isIndex)
      .reduce((sum, { liveBytes }) => sum + liveBytes, 0)
  return { extents: live(false) / BLOCK_BYTES, indexBytes: live(true) }
}
