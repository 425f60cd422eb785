/** Is there one history? At each lsn of a volume every host applies the same update, and what is committed once stays. */
import type { VersionId, VolumeId } from '@cloudfs/interface'

export class OneHistory {
  readonly #versions = new Map<
    VolumeId,
    Map<number, { readonly version: VersionId; readonly host: string }>
  >()

  /** @returns what is wrong with a host being at that version */
  note(host: string, volume: VolumeId, lsn: number, version: VersionId): string | undefined {
    const versions = this.#of(volume)
    const known = versions.get(lsn)
    if (known === undefined) versions.set(lsn, { version, host })
    else if (known.version !== version)
      return `${host} is at ${version} at lsn ${String(lsn)} of volume ${volume}, ${known.host} was at ${known.version}`
    return undefined
  }

  /** A power cut took what comes behind `lsn`, and was allowed to. */
  lose(volume: VolumeId, lsn: number): void {
    const versions = this.#of(volume)
    for (const known of [...versions.keys()]) if (known > lsn) versions.delete(known)
  }

  #of(volume: VolumeId): Map<number, { readonly version: VersionId; readonly host: string }> {
    let versions = this.#versions.get(volume)
    if (versions === undefined) {
      versions = new Map()
      this.#versions.set(volume, versions)
    }
    return versions
  }
}
