/** The word of a primary that it leads no more in an epoch (docs/protocol.md, E2 and H1): signed, for others pass it on. */
import { sign, verify } from 'node:crypto'
import { bytesToHex, type Epoch, hexToBytes, type VolumeId } from '@cloudfs/interface'
import { publicKeyOf, secretKeyOf } from '../curve-keys.js'
import { ResignationInvalidError } from '../errors.js'

const LABEL = 'cloudfs resigned 1'

/** Whoever has granted that epoch's primary a lease need not wait for its end. */
export type Resignation = {
  readonly epoch: Epoch
  /** In hex: Ed25519 by the key of the epoch's host. */
  readonly signature: string
}

/** @param seed - of the host key of the epoch's host */
export function signResignation(volume: VolumeId, epoch: Epoch, seed: Uint8Array): Resignation {
  const signature = sign(undefined, signedBytes(volume, epoch), secretKeyOf('ed25519', seed))
  return { epoch, signature: bytesToHex(signature) }
}

/** @throws {ResignationInvalidError} it is not the word of whoever has this public key, undefined: nobody known */
export function checkResignation(
  volume: VolumeId,
  { epoch, signature }: Resignation,
  publicKey: Uint8Array | undefined,
): void {
  if (publicKey !== undefined && isSigned(hexToBytes(signature), signedBytes(volume, epoch), publicKey))
    return
  throw new ResignationInvalidError(`host ${epoch.host} has not signed that it resigned`, { volume })
}

function isSigned(signature: Uint8Array, bytes: Uint8Array, publicKey: Uint8Array): boolean {
  try {
    return verify(undefined, bytes, publicKeyOf('ed25519', publicKey), signature)
  } catch {
    return false
  }
}

function signedBytes(volume: VolumeId, { counter, host }: Epoch): Uint8Array {
  return new TextEncoder().encode(`${LABEL}\0${volume} ${String(counter)} ${host}`)
}
