/**
 * The host's Ed25519 key: who a host is to the others. It lies in the store's directory as `host.key`, PKCS#8 in PEM,
 * which `openssl pkey -in host.key -text` shows.
 */
import './promise-with-resolvers.js'
import { createHash, createPrivateKey, generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto'
import { link, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { HostId, ID_BYTES } from '@cloudfs/interface'
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import { HostKeyFileError } from './errors.js'

export const HOST_KEY_FILE = 'host.key'

/** A key file is some 120 bytes; what is longer is not one and is not read. */
const FILE_BYTES_MAX = 4096

export class HostKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  /** The 32 bytes the secret key is made of: opens what others sealed to this host. Keep it out of logs. */
  readonly seed: Uint8Array

  private constructor(key: KeyObject) {
    const { d = '', x = '' } = key.export({ format: 'jwk' })
    this.seed = new Uint8Array(Buffer.from(d, 'base64url'))
    this.publicKey = new Uint8Array(Buffer.from(x, 'base64url'))
  }

  /** A new key that is nowhere yet. */
  static generate(): HostKey {
    return new HostKey(generateKeyPairSync('ed25519').privateKey)
  }

  /**
   * The key in `directory`; made there at the first start, so that a crash leaves the whole file or none, and of two
   * processes that make one at once both get the same.
   *
   * @throws {HostKeyFileError} the file cannot be read or written, or holds no Ed25519 key, or others may read it
   */
  static async loadOrCreate(directory: string): Promise<HostKey> {
    const path = join(directory, HOST_KEY_FILE)
    try {
      return (await tryLoad(path)) ?? (await create(directory, path))
    } catch (cause) {
      if (cause instanceof HostKeyFileError) throw cause
      throw new HostKeyFileError(`${path}: cannot be read or made`, { cause, path })
    }
  }

  /** The key that a PEM file's text holds. */
  static fromPem(pem: string): HostKey {
    const key = createPrivateKey(pem)
    if (key.asymmetricKeyType !== 'ed25519') throw new TypeError('not an Ed25519 key')
    return new HostKey(key)
  }

  toPem(): string {
    const jwk = {
      kty: 'OKP',
      crv: 'Ed25519',
      d: Buffer.from(this.seed).toString('base64url'),
      x: Buffer.from(this.publicKey).toString('base64url'),
    }
    return createPrivateKey({ key: jwk, format: 'jwk' }).export({ format: 'pem', type: 'pkcs8' }).toString()
  }

  /** As libp2p takes it. */
  toLibp2p(): Ed25519PrivateKey {
    return privateKeyFromRaw(Buffer.concat([this.seed, this.publicKey])) as Ed25519PrivateKey
  }
}

/** The id a host has unless it was given one: SHA-256 of its public key, cut to 160 bits. */
export function hostIdOf(publicKey: Uint8Array): HostId {
  return HostId.fromBytes(createHash('sha256').update(publicKey).digest().subarray(0, ID_BYTES))
}

async function tryLoad(path: string): Promise<HostKey | undefined> {
  const file = await open(path, 'r').catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  })
  if (file === undefined) return undefined
  try {
    const { mode, size } = await file.stat()
    if ((mode & 0o077) !== 0) {
      throw new HostKeyFileError(
        `${path}: others than its owner may use it; chmod 600 it, if nobody has copied it`,
        {
          path,
        },
      )
    }
    if (size > FILE_BYTES_MAX)
      throw new HostKeyFileError(`${path}: is ${String(size)} bytes long, no key`, { path })
    return parse(await file.readFile('utf8'), path)
  } finally {
    await file.close()
  }
}

function parse(pem: string, path: string): HostKey {
  try {
    return HostKey.fromPem(pem)
  } catch (cause) {
    throw new HostKeyFileError(
      `${path}: holds no Ed25519 key; restore it from a backup, or remove it for a new identity`,
      {
        cause,
        path,
      },
    )
  }
}

/** Written and synced under another name first: `link` then puts the whole file in place, unless one came before. */
async function create(directory: string, path: string): Promise<HostKey> {
  const key = HostKey.generate()
  const temporary = `${path}.${randomBytes(6).toString('hex')}`
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.writeFile(key.toPem())
      await file.sync()
    } finally {
      await file.close()
    }
    try {
      await link(temporary, path)
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error
      const theirs = await tryLoad(path)
      if (theirs === undefined) throw error
      return theirs
    }
  } finally {
    await unlink(temporary).catch((error: unknown) => {
      if (!isErrno(error, 'ENOENT')) throw error
    })
  }
  await syncDirectory(directory)
  return key
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
