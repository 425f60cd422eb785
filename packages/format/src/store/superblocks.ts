/** Which of the two copies of the superblock counts. */
import {
  type CloudfsError,
  isCloudfsError,
  StoreCorruptError,
  StoreNotFoundError,
  StoreVersionError,
} from '@cloudfs/interface'
import { decodeSuperblock, SUPERBLOCK_BYTES, type Superblock } from '../superblock.js'

export interface ChosenSuperblock {
  readonly superblock: Superblock
  /** Why the other copy does not count, if it is damaged. A torn write leaves one like that. */
  readonly fault?: CloudfsError
}

/**
 * The valid copy with the greater sequence.
 *
 * @throws {StoreVersionError} a copy is of a later version: the store is, whatever the other copy says
 * @throws {StoreNotFoundError} the region is empty or zeros
 * @throws {StoreCorruptError} neither copy is valid
 */
export function chooseSuperblock(region: Uint8Array): ChosenSuperblock {
  if (region.every((byte) => byte === 0)) throw new StoreNotFoundError('there is no superblock here')
  const [a, b] = [0, SUPERBLOCK_BYTES].map((offset) =>
    tryDecode(region.subarray(offset, offset + SUPERBLOCK_BYTES)),
  )
  const [first, second] = [a as Superblock | CloudfsError, b as Superblock | CloudfsError]
  for (const copy of [first, second]) if (copy instanceof StoreVersionError) throw copy
  if (!(first instanceof Error) && !(second instanceof Error)) {
    return { superblock: first.sequence > second.sequence ? first : second }
  }
  if (!(first instanceof Error)) return { superblock: first, fault: second as CloudfsError }
  if (!(second instanceof Error)) return { superblock: second, fault: first }
  throw new StoreCorruptError(
    `neither copy of the superblock is valid: ${first.message}; ${second.message}`,
    {
      cause: first,
    },
  )
}

function tryDecode(bytes: Uint8Array): Superblock | CloudfsError {
  try {
    return decodeSuperblock(bytes)
  } catch (error) {
    if (isCloudfsError(error)) return error
    throw error
  }
}
