/** SHA-256 as the format uses it: cut to 160 bits for ids and tokens (`H`), to 128 for block digests. */
import { createHash } from 'node:crypto'
import { ID_BYTES } from '@cloudfs/interface'
import { sha256 } from 'multiformats/hashes/sha2'

/** The multihash code of the store's hash function, as the superblock names it. */
export const HASH_CODE: number = sha256.code

/** Bytes of a block's digest. */
export const DIGEST_BYTES = 16

/** `H` of docs/disk-format.md over the parts, one after another: the first 20 bytes of SHA-256. */
export function hash160(...parts: readonly Uint8Array[]): Uint8Array {
  return digest(parts).subarray(0, ID_BYTES)
}

/** The first 16 bytes of SHA-256 of a block. */
export function blockDigest(block: Uint8Array): Uint8Array {
  return digest([block]).subarray(0, DIGEST_BYTES)
}

function digest(parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return new Uint8Array(hash.digest())
}
