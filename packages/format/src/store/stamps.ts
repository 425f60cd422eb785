/** The stamps a store gives away, and what they prove of its volumes' heads. */
import { type Epoch, Stamp, type VolumeId } from '@cloudfs/interface'
import { placeOfLink, publicOf, tokenOfLink } from '../chain.js'
import type { Findings } from './findings.js'
import type { OfflineStore } from './open-store.js'

/** Stamps of views that this store made, or that a later view revealed. */
export function knownStamps(store: OfflineStore): Map<string, Stamp> {
  const stamps = new Map<string, Stamp>()
  for (const { kind, volume, epoch, bytes } of [...store.checkpoint.locals, ...store.locals]) {
    if (kind === 'stamp') stamps.set(stampKey(volume, { epoch }), Stamp.fromBytes(bytes))
  }
  for (const volume of store.volumes.values()) {
    const before = volume.epochs.at(-2)
    if (volume.view.oldStamp !== undefined && before !== undefined) {
      stamps.set(stampKey(volume.id, before), volume.view.oldStamp)
    }
  }
  return stamps
}

export function stampKey(volume: VolumeId, { epoch }: { readonly epoch: Epoch }): string {
  return `${volume}.${String(epoch.counter)}.${epoch.host}`
}

/** Each head's link is of its newest epoch, and makes the head's version wherever the stamp is known. */
export function verifyHeads(store: OfflineStore, findings: Findings): void {
  const stamps = knownStamps(store)
  for (const { id, appliedLink, appliedPublic, epochs } of store.checkpoint.volumes) {
    const { epoch } = placeOfLink(appliedLink)
    const newest = epochs.at(-1)?.epoch
    if (newest === undefined || newest.counter !== epoch.counter || newest.host !== epoch.host) {
      findings.add('ERR_LINEAGE_CORRUPT', `volume ${id} has a link of another epoch than its head's`, {
        volume: id,
      })
      continue
    }
    const stamp = stamps.get(stampKey(id, { epoch }))
    if (stamp !== undefined && publicOf(tokenOfLink(stamp, appliedLink)) !== appliedPublic) {
      findings.add('ERR_CHAIN_BROKEN', `volume ${id} has a link that does not make its head`, { volume: id })
    }
  }
}
