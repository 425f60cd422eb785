/**
 * Which key belongs to which host id: bound when a host is first met, kept ever after (trust on first use).
 *
 * A host id may be given by an operator, so it need not follow from the key; and a view's slices are sealed to keys. So an
 * id that turns up with another key is an impostor, or a host whose `host.key` was lost: an operator decides which, not
 * this. A key may not take a second id either, else one host could stand for a majority.
 */
import { bytesToHex, type HostId } from '@cloudfs/interface'
import type { SignedAnnouncement } from './announcement.js'
import { HostKeyMismatchError } from './errors.js'

/** A host as it is remembered between starts. */
export interface KnownHost {
  readonly hostId: HostId
  /** Ed25519, 64 hex digits. */
  readonly publicKey: string
  /** What it last said of itself, its addresses among it. */
  readonly announcement: SignedAnnouncement
}

/** Where hosts are remembered; losing it costs the bindings, so an operator should see that it was lost. */
export interface HostBook {
  /** All hosts, at start. */
  load(): Promise<readonly KnownHost[]>
  /** Adds a host or replaces the entry of the same id; resolves once that survives a restart. */
  save(host: KnownHost): Promise<void>
}

export class HostTrust {
  readonly #keys = new Map<HostId, string>()
  readonly #hosts = new Map<string, HostId>()

  /** Takes over a binding that is known already: this host's own, or a remembered one. */
  adopt(hostId: HostId, publicKey: Uint8Array): void {
    this.check(hostId, publicKey)
    this.#keys.set(hostId, bytesToHex(publicKey))
    this.#hosts.set(bytesToHex(publicKey), hostId)
  }

  /** @throws {HostKeyMismatchError} the id is bound to another key, or the key to another id */
  check(hostId: HostId, publicKey: Uint8Array): void {
    const key = bytesToHex(publicKey)
    const bound = this.#keys.get(hostId)
    if (bound !== undefined && bound !== key) {
      throw new HostKeyMismatchError(
        `host ${hostId} is known here by key ${shortKey(bound)} and came with ${shortKey(key)}: an impostor, or its ` +
          'host.key was lost; if it is the latter, forget the host here and let it join again',
        { host: hostId, known: bound, given: key },
      )
    }
    const other = this.#hosts.get(key)
    if (other !== undefined && other !== hostId) {
      throw new HostKeyMismatchError(
        `key ${shortKey(key)} is known here as host ${other} and came as host ${hostId}: a host keeps its id; give it ` +
          'that id again, or a new host.key',
        { host: hostId, known: other, given: key },
      )
    }
  }

  /**
   * Binds an id met for the first time and has that saved. In between nobody else can take id or key.
   *
   * @throws {HostKeyMismatchError} as `check`
   */
  async bind(hostId: HostId, publicKey: Uint8Array, save: () => Promise<void>): Promise<void> {
    const isNew = !this.#keys.has(hostId)
    this.adopt(hostId, publicKey)
    if (!isNew) return
    try {
      await save()
    } catch (error) {
      this.forget(hostId)
      throw error
    }
  }

  forget(hostId: HostId): void {
    const key = this.#keys.get(hostId)
    this.#keys.delete(hostId)
    if (key !== undefined) this.#hosts.delete(key)
  }

  isBound(hostId: HostId): boolean {
    return this.#keys.has(hostId)
  }

  /** The host that this key is bound to. */
  hostOf(publicKey: Uint8Array): HostId | undefined {
    return this.#hosts.get(bytesToHex(publicKey))
  }
}

function shortKey(key: string): string {
  return `${key.slice(0, 16)}…`
}
