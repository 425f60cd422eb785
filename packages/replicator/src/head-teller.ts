/**
 * Tells hosts that have a volume of ours attached which version it is at, for their `ID.info`. The engine says so at most
 * every 50 ms; a host that is slow to answer hears the newest version when it has.
 */
import type { HostId, VersionId, VolumeId } from '@cloudfs/interface'
import type { PeerNode } from '@cloudfs/peers'
import { tellHead } from './peer-requests.js'

export class HeadTeller {
  readonly #peers: Pick<PeerNode, 'request'>
  /** What is under way, by volume and host, and the version to be told next. */
  readonly #telling = new Map<string, { next: VersionId | undefined }>()

  constructor(peers: Pick<PeerNode, 'request'>) {
    this.#peers = peers
  }

  /** Resolves when the host knows the version or a newer one. @throws what `request` does: it is told the next one */
  async tell(host: HostId, volume: VolumeId, version: VersionId): Promise<void> {
    const name = `${host} ${volume}`
    const present = this.#telling.get(name)
    if (present !== undefined) {
      present.next = version
      return
    }
    const entry: { next: VersionId | undefined } = { next: version }
    this.#telling.set(name, entry)
    try {
      while (entry.next !== undefined) {
        const told = entry.next
        entry.next = undefined
        await this.#peers.request(host, tellHead, { volume, version: told })
      }
    } finally {
      this.#telling.delete(name)
    }
  }
}
