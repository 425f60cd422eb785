/** What operators do about who keeps a volume while clients work: replicas replaced, added, removed, wherever their hosts are. */
import type { VolumeId } from '@cloudfs/interface'
import type { Place, Wish } from '@cloudfs/protocol'
import type { Cluster } from './cluster.js'
import type { Host } from './host.js'
import { pick, type Random } from './random.js'

const VOTERS_MAX = 5

interface SetOperatorParts {
  readonly cluster: Cluster
  readonly random: Random
  readonly volume: VolumeId
  readonly meanNs: number
}

interface Asked {
  readonly what: string
  readonly from: Host
  readonly life: number
}

/** Who comes and who goes, by the numbers of their hosts. */
interface Ends {
  readonly joins?: { readonly index: number }
  readonly leaves?: { readonly index: number }
}

export class SetOperator {
  readonly #parts: SetOperatorParts
  readonly #asked = new Set<Asked>()
  #isOn = false

  constructor(parts: SetOperatorParts) {
    this.#parts = parts
  }

  begin(): void {
    this.#isOn = true
    this.#plan()
  }

  end(): void {
    this.#isOn = false
  }

  /** What was asked for of hosts that still live, and is not answered. */
  get waiting(): string[] {
    return [...this.#asked]
      .filter(({ from, life }) => from.life === life && from.isUp)
      .map(({ what, from }) => `${what} at ${from.name}`)
  }

  #plan(): void {
    const { cluster, random, meanNs } = this.#parts
    cluster.schedule.after(-Math.log(1 - random()) * meanNs, () => {
      if (!this.#isOn) return
      this.#act()
      this.#plan()
    })
  }

  #act(): void {
    const { cluster, random } = this.#parts
    const members = cluster.sets.now
    const voters = members.filter(({ isVoter }) => isVoter)
    const learners = members.filter(({ isVoter }) => !isVoter)
    const others = cluster.hosts.filter(({ index }) => !members.some((one) => one.index === index))
    // A learner that is left over goes on, or goes.
    const joins: readonly { readonly index: number }[] = learners.length > 0 ? learners : others
    const draw = random()
    if (draw < 0.1 && learners.length > 0) this.#ask('remove', { leaves: pick(random, learners) })
    else if (draw < 0.6 && joins.length > 0)
      this.#ask('replace', { joins: pick(random, joins), leaves: pick(random, voters) })
    else if (draw < 0.8 && joins.length > 0 && voters.length < VOTERS_MAX)
      this.#ask('add', { joins: pick(random, joins) })
    else if (voters.length > 2) this.#ask('remove', { leaves: pick(random, voters) })
  }

  #ask(verb: string, { joins, leaves }: Ends): void {
    const { cluster, volume } = this.#parts
    const placeOf = ({ index }: { index: number }): Place => {
      const { host, store } = cluster.host(index)
      return { host, store }
    }
    const wish: Wish = {
      ...(joins && { joins: placeOf(joins) }),
      ...(leaves && { leaves: cluster.host(leaves.index).host }),
    }
    const from = cluster.host(cluster.leaderOf(volume))
    const whom = [
      joins && `host ${String(joins.index)} joins`,
      leaves && `host ${String(leaves.index)} leaves`,
    ]
    const what = `${verb}: ${whom.filter(Boolean).join(', ')}`
    const asked = { what, from, life: from.life }
    this.#asked.add(asked)
    cluster.log.story('operator', `${what}, at ${from.name}`)
    cluster.changeSet(volume, wish, (code) => {
      this.#asked.delete(asked)
      cluster.log.story('operator', `${what}: ${code === '' ? 'begun' : code}`)
      cluster.coverage.count(`operator:${verb}${code === '' ? '' : ` ${code}`}`)
      if (code !== '' && code !== 'ERR_ENGINE_GONE') cluster.coverage.count('member:change refused')
    })
  }
}
