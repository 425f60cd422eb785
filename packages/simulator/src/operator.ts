/** What people and nodes do to a store while clients work: checkpoints, cleaning, snapshots. */
import type { CoreCommands, CoreVerb, SegmentTable, VolumeId } from '@cloudfs/interface'
import type { SimAnswer } from '@cloudfs/native'
import type { Cluster } from './cluster.js'
import { pick, type Random } from './random.js'

const SNAPSHOTS_MAX = 4

interface OperatorParts {
  readonly cluster: Cluster
  readonly random: Random
  readonly volume: VolumeId
  readonly meanNs: number
}

export class Operator {
  readonly #parts: OperatorParts
  #isOn = false
  #snapshots = 0
  #underWay = 0
  #names: string[] = []

  constructor(parts: OperatorParts) {
    this.#parts = parts
  }

  begin(): void {
    this.#isOn = true
    this.#plan()
  }

  end(): void {
    this.#isOn = false
  }

  /** All that was asked for is answered. */
  get isIdle(): boolean {
    return this.#underWay === 0
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
    const host = pick(random, cluster.hosts).index
    const draw = random()
    if (draw < 0.2) this.#do(host, 'checkpoint', {})
    else if (draw < 0.65) this.#clean(host)
    else if (draw < 0.85) this.#snapshot()
    else this.#deleteSnapshot()
  }

  /** Of more the store might be full for good. */
  #snapshot(): void {
    const { volume } = this.#parts
    if (this.#names.length === SNAPSHOTS_MAX) {
      this.#deleteSnapshot()
      return
    }
    const name = `s${String(this.#snapshots++)}`
    this.#names.push(name)
    this.#do(0, 'snapshot', { volume, name })
  }

  /** Its name is free again only if it was there, or never came to be. */
  #deleteSnapshot(): void {
    const { random, volume } = this.#parts
    if (this.#names.length === 0) return
    const name = pick(random, this.#names)
    this.#do(0, 'delete-snapshot', { volume, name }, ({ errorCode }) => {
      if (errorCode === '' || errorCode === 'ERR_UNKNOWN_SNAPSHOT')
        this.#names = this.#names.filter((one) => one !== name)
    })
  }

  /** The segment of which least is in use, or any. */
  #clean(host: number): void {
    const { random } = this.#parts
    this.#do(host, 'segments', {}, ({ result }) => {
      const table = result as SegmentTable | undefined
      const sealed = table?.segments.filter(({ kind, state }) => kind !== 'index' && state === 'sealed') ?? []
      if (sealed.length === 0) return
      const [emptiest] = sealed.toSorted((a, b) => a.liveBytes - b.liveBytes)
      const one = random() < 0.6 ? emptiest : pick(random, sealed)
      if (one !== undefined) this.#do(host, 'clean', { logical: one.logical })
    })
  }

  #do<V extends CoreVerb>(
    host: number,
    verb: V,
    args: CoreCommands[V]['args'],
    then?: (answer: SimAnswer) => void,
  ): void {
    const { cluster } = this.#parts
    this.#underWay++
    cluster.command(host, verb, args, (answer) => {
      this.#underWay--
      if (answer === undefined) return
      cluster.coverage.count(`operator:${verb}${answer.errorCode === '' ? '' : ` ${answer.errorCode}`}`)
      then?.(answer)
    })
  }
}
