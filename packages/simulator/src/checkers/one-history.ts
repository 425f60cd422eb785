/** Is there one history? At each lsn of a volume every host applies the same update, and what is committed once stays. */
import type { VersionId, VolumeId } from '@cloudfs/interface'

export class OneHistory {
  /** What a loss may have taken: a host that was not there still has it, and may tell of it again. */
  readonly #lost = new Set<string>()
  readonly #versions = new Map<
    VolumeId,
    Map<number, { readonly version: VersionId; readonly host: string }>
  >()

  /** @returns what is wrong with a host being at that version */
  note(host: string, volume: VolumeId, lsn: number, version: VersionId): string | undefined {
    const versions = this.#of(volume)
    const known = versions.get(lsn)
    if (known?.version !== version && this.#lost.has(`${volume} ${String(lsn)} ${version}`)) return undefined
    if (known === undefined) versions.set(lsn, { version, host })
    else if (known.version !== version)
      return `${host} is at ${version} at lsn ${String(lsn)} of volume ${volume}, ${known.host} was at ${known.version}`
    return undefined
  }

  /** A power cut took what comes behind `lsn`, and was allowed to. */
  lose(volume: VolumeId, lsn: number): void {
    const versions = this.#of(volume)
    for (const [at, { version }] of [...versions])
      if (at > lsn) {
        versions.delete(at)
        this.#lost.add(`${volume} ${String(at)} ${version}`)
      }
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
