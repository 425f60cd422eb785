/**
 * A volume whose majority is lost for good goes on at one host that is left, at an operator's word (docs/protocol.md, "Force").
 * Which host that is: of those that answer, the one that has most.
 */
import type { Answer } from '@cloudfs/http'
import {
  compareHeads,
  EPOCH_NONE,
  type Foresight,
  HostId,
  isCloudfsError,
  VolumeId,
} from '@cloudfs/interface'
import type { PeerNode } from '@cloudfs/peers'
import { ForceError, isVoter, viewsOf } from '@cloudfs/protocol'
import type { Catalogue } from './catalogue.js'
import type { EngineSupervisor } from './engine-supervisor.js'
import { askForce } from './set-requests.js'
import { askForesee } from './view-requests.js'

const ASK_TIMEOUT_MS = 3_000
/** Its questions to members that are gone, and an election of one. */
const FORCE_TIMEOUT_MS = 15_000

interface ForcingOptions {
  readonly host: HostId
  readonly engine: EngineSupervisor
  readonly peers: PeerNode
  readonly catalogue: Catalogue
  /** Has this host go on alone. */
  readonly force: (volume: VolumeId) => Promise<void>
}

type Survivor = Foresight & { readonly host: HostId }

export class Forcing {
  readonly #options: ForcingOptions

  constructor(options: ForcingOptions) {
    this.#options = options
    options.peers.handle(askForce, async ({ volume }) => {
      await options.force(volume)
      return {}
    })
  }

  /** What would go on if it were forced now. @throws {ForceError} no host that answers has the volume's data */
  async plan(reference: string): Promise<Answer<'forcePlan'>> {
    const volume = VolumeId.parse((await this.#options.catalogue.find(reference)).volume.volume)
    const survivors = await this.#survivors(volume)
    const [best] = survivors
      .filter((each) => hasData(each))
      .sort((one, other) => compareHeads(other.head, one.head))
    if (best === undefined)
      throw new ForceError(`no host that answers has the data of volume ${volume}`, { volume })
    const voters = new Set(
      viewsOf(best).flatMap(({ members }) => members.filter(isVoter).map(({ host }) => host)),
    )
    const answering = survivors.map(({ host }) => host).filter((host) => voters.has(host))
    return {
      volume,
      host: best.host,
      lsn: best.head.lsn,
      version: best.head.version,
      answering,
      missing: [...voters].filter((host) => !answering.includes(host)),
    }
  }

  /** @throws {ForceError} it is not needed, or another host has more */
  async force(reference: string, to: string): Promise<Answer<'force'>> {
    const { host, peers, catalogue, force } = this.#options
    const { volume } = (await catalogue.find(reference)).volume
    const id = VolumeId.parse(volume)
    if (to === host) await force(id)
    else await peers.request(HostId.parse(to), askForce, { volume: id }, { timeoutMs: FORCE_TIMEOUT_MS })
    return { volume, host: to }
  }

  async #survivors(volume: VolumeId): Promise<Survivor[]> {
    const { host, engine, peers } = this.#options
    const asked = { volume, epoch: { ...EPOCH_NONE, host } }
    const others = peers.members().flatMap(({ hostId, state }) => (state === 'down' ? [] : [hostId]))
    const answers = await Promise.allSettled(
      [host, ...others].map(async (each): Promise<Survivor> => {
        const answer =
          each === host
            ? await engine.result('would-promise', asked)
            : await peers.request(each, askForesee, asked, { timeoutMs: ASK_TIMEOUT_MS })
        return { ...answer, host: each }
      }),
    )
    return answers.flatMap((answer) => {
      if (answer.status === 'fulfilled') return [answer.value]
      if (!isCloudfsError(answer.reason)) throw answer.reason
      return []
    })
  }
}

function hasData({ host, store, ...standing }: Survivor): boolean {
  const members = viewsOf({ ...standing, store }).at(-1)?.members ?? []
  return members.some((each) => each.host === host && each.store === store && each.role === 'data')
}
