/** Has a volume's primary do what only that can: the host that is taken for it, or whoever leads instead by now. */
import { setTimeout as delay } from 'node:timers/promises'
import { HostId, isCloudfsError, UnknownVolumeError, VolumeId } from '@cloudfs/interface'
import type { PeerNode } from '@cloudfs/peers'
import type { Catalogue } from './catalogue.js'
import { PrimaryAwayError } from './errors.js'
import { type Acted, askDeleted, askPrimary, type PrimaryAction } from './peer-requests.js'

/** An action is committed by a majority, which may have to be dialled first. */
const ACT_TIMEOUT_MS = 25_000
/** Whoever asks for something waits so long for a new primary when the old one is gone; it takes about a second. */
const LEADERLESS_MS_MAX = 5_000
const LEADERLESS_RETRY_MS = 100
/** Who does not say by then whether a volume is deleted is not waited for. */
const DELETED_TIMEOUT_MS = 1_000

/** What may be done twice, and is small: a primary that does not answer hangs, and another will lead. */
const REPEATABLE_TIMEOUT_MS = 4_000
const repeatable = new Set<PrimaryAction['action']>(['attach', 'detach'])

interface ActingOptions {
  readonly host: HostId
  readonly peers: PeerNode
  readonly catalogue: Catalogue
  /** Carries out at this host what `caller` asks for. @throws {NotPrimaryError} it is not the primary */
  readonly actHere: (request: PrimaryAction, caller: HostId) => Promise<Acted>
  /** This host knows that its deletion is committed. */
  readonly isDeletedHere: (volume: VolumeId) => Promise<boolean>
}

export class Acting {
  readonly #options: ActingOptions

  constructor(options: ActingOptions) {
    this.#options = options
    options.peers.handle(askPrimary, async ({ request }, caller) => options.actHere(request, caller))
  }

  /**
   * @returns what the primary did, and who that was
   * @throws {PrimaryAwayError} nobody has come to lead in time
   */
  async act(
    { volume, primary }: { readonly volume: string; readonly primary: string },
    request: PrimaryAction,
  ): Promise<Acted & { readonly by: HostId }> {
    let giveUpMs = Infinity
    let by = HostId.parse(primary)
    for (;;) {
      try {
        return { ...(await this.#actAt(by, request)), by }
      } catch (error) {
        if (!mayBeElsewhere(error, request) || performance.now() > giveUpMs) throw error
      }
      // From the first refusal on: one that waited for a host that is gone may have taken longer than that.
      giveUpMs = Math.min(giveUpMs, performance.now() + LEADERLESS_MS_MAX)
      await delay(LEADERLESS_RETRY_MS)
      const next = await this.#primaryOf(volume, by, request)
      if (next === undefined) return { volume, by }
      by = next
    }
  }

  /**
   * One that is being deleted is not listed any more, and its deletion not sure yet. Whoever follows it knows once it is; until
   * then whoever leads it says so, which another host may have come to do: each is asked in its turn.
   *
   * @returns undefined: it is deleted, as was asked
   */
  async #primaryOf(volume: string, before: HostId, { action }: PrimaryAction): Promise<HostId | undefined> {
    try {
      return HostId.parse((await this.#options.catalogue.find(volume)).volume.primary)
    } catch (error) {
      if (action !== 'delete' || !(error instanceof UnknownVolumeError)) throw error
    }
    const { host, peers } = this.#options
    const up = peers.members().filter(({ state }) => state === 'up')
    const hosts = [host, ...up.map(({ hostId }) => hostId)].sort()
    const said = await Promise.all(hosts.map((each) => this.#isDeletedAt(each, VolumeId.parse(volume))))
    if (said.includes(true)) return undefined
    return hosts.find((each) => each > before) ?? hosts[0]
  }

  async #isDeletedAt(host: HostId, volume: VolumeId): Promise<boolean> {
    const { peers, host: own, isDeletedHere } = this.#options
    if (host === own) return isDeletedHere(volume)
    const options = { timeoutMs: DELETED_TIMEOUT_MS }
    try {
      return (await peers.request(host, askDeleted, { volumes: [volume] }, options)).deleted.length > 0
    } catch (error) {
      if (!isCloudfsError(error)) throw error
      return false
    }
  }

  async #actAt(primary: HostId, request: PrimaryAction): Promise<Acted> {
    const { host, peers, actHere } = this.#options
    if (primary === host) return actHere(request, host)
    const timeoutMs = repeatable.has(request.action) ? REPEATABLE_TIMEOUT_MS : ACT_TIMEOUT_MS
    try {
      return await peers.request(primary, askPrimary, { request }, { timeoutMs })
    } catch (error) {
      if (!isCloudfsError(error) || !/^ERR_(PEER_(UNREACHABLE|TIMEOUT)|UNKNOWN_HOST)$/.test(error.code))
        throw error
      throw new PrimaryAwayError(`the volume's primary ${primary} does not answer`, {
        cause: error,
        primary,
      })
    }
  }
}

/** The primary's word that it is none; or it cannot be asked, and what it may have done is as well done twice. */
function mayBeElsewhere(error: unknown, { action }: PrimaryAction): boolean {
  if (!isCloudfsError(error)) return false
  return error.code === 'ERR_NOT_PRIMARY' || (error instanceof PrimaryAwayError && repeatable.has(action))
}
