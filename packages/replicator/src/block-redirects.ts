/**
 * `/blocks?VOLUME` at the replicator: it has no blocks, and sends to the engine of the volume's primary. What it sends
 * carries the mark `hop=1`, which no engine sends on: packages/engine/src/blocks/redirects.ts says why nothing goes round in
 * circles.
 */
import { HostId, isCloudfsError, UnknownSnapshotError, UnknownVolumeError } from '@cloudfs/interface'
import type { PeerNode } from '@cloudfs/peers'
import type { Catalogue, Found } from './catalogue.js'
import { BadRequestError, PrimaryAwayError } from './errors.js'
import { askEngine } from './peer-requests.js'

/** The primary says where its engine is. */
const ASK_TIMEOUT_MS = 2_000

interface BlockRedirectsOptions {
  readonly host: HostId
  readonly peers: PeerNode
  readonly catalogue: Catalogue
  /** Where others reach this host's engine. */
  readonly address: () => string
}

export class BlockRedirects {
  readonly #options: BlockRedirectsOptions

  constructor(options: BlockRedirectsOptions) {
    this.#options = options
    options.peers.handle(askEngine, () => Promise.resolve({ address: options.address() }))
  }

  /**
   * Where a request goes.
   *
   * @param query - as it is in the request
   * @throws {BadRequestError} it names nothing, or was sent here as to an engine
   * @throws {UnknownVolumeError} @throws {UnknownSnapshotError} @throws {AmbiguousNameError}
   * @throws {PrimaryAwayError} the primary's host does not answer
   */
  async locationOf(query: string): Promise<string> {
    const reference = decode(query)
    const { primary, name } = await this.#find(reference)
    const address = primary === this.#options.host ? this.#options.address() : await this.#askAddress(primary)
    return `http://${address}/blocks?${encodeURIComponent(name)}&hop=1`
  }

  /** By ids alone: a name might mean another volume at the primary. */
  async #find(reference: string): Promise<{ readonly primary: HostId; readonly name: string }> {
    const { catalogue } = this.#options
    try {
      const { volume } = await catalogue.find(reference)
      return { primary: HostId.parse(volume.primary), name: volume.volume }
    } catch (error) {
      if (!(error instanceof UnknownVolumeError)) throw error
      const other = reference.includes('@')
        ? await this.#snapshot(reference)
        : versionOf(reference, await catalogue.all())
      if (other === undefined) throw error
      return other
    }
  }

  async #snapshot(reference: string): Promise<{ readonly primary: HostId; readonly name: string }> {
    const at = reference.lastIndexOf('@')
    const { volume } = await this.#options.catalogue.find(reference.slice(0, at))
    const name = reference.slice(at + 1)
    if (volume.snapshots.some((each) => each.name === name)) {
      return { primary: HostId.parse(volume.primary), name: `${volume.volume}@${name}` }
    }
    throw new UnknownSnapshotError(`volume ${volume.volume} has no snapshot ${JSON.stringify(name)}`)
  }

  async #askAddress(primary: HostId): Promise<string> {
    const { peers } = this.#options
    try {
      return (await peers.request(primary, askEngine, {}, { timeoutMs: ASK_TIMEOUT_MS })).address
    } catch (error) {
      if (!isCloudfsError(error)) throw error
      throw new PrimaryAwayError(`the volume's primary ${primary} does not answer`, { cause: error, primary })
    }
  }
}

function versionOf(
  version: string,
  all: ReadonlyMap<string, Found>,
): { readonly primary: HostId; readonly name: string } | undefined {
  for (const { volume } of all.values()) {
    const isHere = volume.version === version || volume.snapshots.some((each) => each.version === version)
    if (isHere) return { primary: HostId.parse(volume.primary), name: version }
  }
  return undefined
}

function decode(query: string): string {
  try {
    const reference = decodeURIComponent(query)
    if (reference !== '' && !reference.includes('&')) return reference
  } catch {
    // Malformed escapes.
  }
  throw new BadRequestError(`not VOLUME: ${JSON.stringify(query.slice(0, 100))}`)
}
