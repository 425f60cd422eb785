/** The hosts' key pairs, made from what a host is called: keys are not what a run is about. */
import { createHash, createPrivateKey, createPublicKey } from 'node:crypto'

/** What stands before the seed of an Ed25519 key in PKCS #8 (RFC 8410). */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex')
const KEY_BYTES = 32

export class Keys {
  readonly #seeds: readonly Buffer[]
  readonly #publicKeys: readonly Uint8Array[]

  constructor(hostCount: number) {
    this.#seeds = Array.from({ length: hostCount }, (_, index) =>
      createHash('sha256')
        .update(`simulated host ${String(index)}`)
        .digest(),
    )
    this.#publicKeys = this.#seeds.map((seed) => {
      const secret = createPrivateKey({
        key: Buffer.concat([PKCS8_HEAD, seed]),
        format: 'der',
        type: 'pkcs8',
      })
      const spki = createPublicKey(secret).export({ format: 'der', type: 'spki' })
      return new Uint8Array(spki.subarray(-KEY_BYTES))
    })
  }

  seedOf(index: number): Uint8Array {
    return new Uint8Array(this.#seeds[index] ?? Buffer.alloc(0))
  }

  publicKeyOf(index: number): Uint8Array {
    return this.#publicKeys[index] ?? new Uint8Array()
  }
}
