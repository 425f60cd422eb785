/** What is followed, as an engine that starts alone finds it: `follows.json` in the run directory. It holds keys. */
import { readFileSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { HostId, type StoreId, StoreId as StoreIds, VolumeId } from '@cloudfs/interface'
import type { FollowArguments } from '@cloudfs/interface'
import { z } from 'zod'

export interface StoredFollow extends FollowArguments {
  readonly store: StoreId
}

const schema = z.strictObject({
  version: z.literal(1),
  follows: z.array(
    z.strictObject({
      store: z.string().transform((text) => StoreIds.parse(text)),
      volume: z.string().transform((text) => VolumeId.parse(text)),
      leader: z.string().transform((text) => HostId.parse(text)),
      address: z.string(),
      key: z.string().regex(/^[0-9a-f]{64}$/),
    }),
  ),
})

/** @throws what reading or parsing it met; a file that is not there holds nothing */
export function readFollows(path: string): readonly StoredFollow[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
  return schema.parse(JSON.parse(text)).follows
}

/**
 * Replaces the file as a whole; after a power cut it may be empty, and then replicators tell again. Not by a call that blocks: to
 * put a file in another's place the file system may write it out first, and streams of hundreds of volumes begin at once.
 */
export async function writeFollows(path: string, follows: readonly StoredFollow[]): Promise<void> {
  const draft = `${path}.new`
  await writeFile(draft, `${JSON.stringify({ version: 1, follows }, null, 1)}\n`, { mode: 0o600 })
  await rename(draft, path)
}
