/** What people and nodes do to a store while clients work: checkpoints, cleaning, snapshots, and who is to lead. */
import type { CoreCommands, CoreVerb, SegmentTable, VolumeId, VolumeStatus } from '@cloudfs/interface'
import type { SimAnswer } from '@cloudfs/native'
import type { Attachment } from './attachment.js'
import type { Cluster } from './cluster.js'
import type { Host } from './host.js'
import { pick, type Random } from './random.js'

const SNAPSHOTS_MAX = 4

interface OperatorParts {
  readonly cluster: Cluster
  readonly random: Random
  readonly volume: VolumeId
  readonly meanNs: number
  readonly attachments: readonly Attachment[]
}

export class Operator {
  readonly #parts: OperatorParts
  #isOn = false
  #snapshots = 0
  readonly #underWay = new Set<string>()
  #acts = 0
  /** Of a host that went meanwhile nobody hears. */
  readonly #handings = new Set<{ readonly from: Host; readonly life: number; readonly to: number }>()
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

  /** What was asked for and is not answered. */
  get waiting(): string[] {
    const handings = [...this.#handings].filter(({ from, life }) => from.life === life && from.isUp)
    return [
      ...this.#underWay,
      ...handings.map(({ from, to }) => `migrate from ${from.name} to host ${String(to)}`),
    ]
  }

  /** All that was asked for is answered. */
  get isIdle(): boolean {
    return this.waiting.length === 0
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
    else if (draw < 0.55) this.#clean(host)
    else if (draw < 0.63) this.#handOver(host)
    else if (draw < 0.66) this.#take()
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
    this.#do(this.#leader, 'snapshot', { volume, name })
  }

  /** Its name is free again only if it was there, or never came to be. */
  #deleteSnapshot(): void {
    const { random, volume } = this.#parts
    if (this.#names.length === 0) return
    const name = pick(random, this.#names)
    this.#do(this.#leader, 'delete-snapshot', { volume, name }, ({ errorCode }) => {
      if (errorCode === '' || errorCode === 'ERR_UNKNOWN_SNAPSHOT')
        this.#names = this.#names.filter((one) => one !== name)
    })
  }

  /** As `cloudfs migrate` does it. */
  #handOver(to: number): void {
    const { cluster, volume } = this.#parts
    const from = cluster.host(cluster.leaderOf(volume))
    if (!cluster.options.elections || from.index === to || !from.isReady) return
    const handing = { from, life: from.life, to }
    this.#handings.add(handing)
    cluster.log.story('operator', `hands over from ${from.name} to host ${String(to)}`)
    cluster.handOver(volume, to, (code) => {
      this.#handings.delete(handing)
      cluster.coverage.count(`operator:migrate${code === '' ? '' : ` ${code}`}`)
      cluster.log.story('operator', `handed over to host ${String(to)}: ${code === '' ? 'done' : code}`)
    })
  }

  /** As `cloudfs attach --take` does it: the record goes on without a host that has the volume attached. */
  #take(): void {
    const { attachments, cluster, random, volume } = this.#parts
    if (attachments.length === 0) return
    const attachment = pick(random, attachments)
    const leader = this.#leader
    this.#do(leader, 'volumes', { volume }, ({ result }) => {
      const attach = (result as VolumeStatus[] | undefined)?.[0]?.attach
      if (attach?.holders.some(({ session }) => session === attachment.session) !== true) return
      const { asked } = attachment
      const holders = attach.holders.filter(({ session }) => session !== attachment.session)
      this.#do(leader, 'attach', { volume, holders, after: attach.revision }, ({ errorCode }) => {
        if (errorCode !== '') return
        cluster.log.story('operator', `has taken the session of ${attachment.socket}`)
        attachment.onTaken(asked)
      })
    })
  }

  get #leader(): number {
    const { cluster, volume } = this.#parts
    return cluster.leaderOf(volume)
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
    const what = `${String(this.#acts++)}: ${verb} at host ${String(host)}`
    this.#underWay.add(what)
    cluster.command(host, verb, args, (answer) => {
      this.#underWay.delete(what)
      if (answer === undefined) return
      cluster.coverage.count(`operator:${verb}${answer.errorCode === '' ? '' : ` ${answer.errorCode}`}`)
      then?.(answer)
    })
  }
}
