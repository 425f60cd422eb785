/**
 * A majority that is lost for good, in the end of some lives: hosts go and stay away, or come back as the set that was; an
 * operator has one that is left go on alone (docs/protocol.md, "Force"), and the set grows again, all under load.
 *
 * What was acknowledged, and the one that goes on did not have, may be lost, flushed or not. What it had applied before may not:
 * nothing older comes back in its place.
 */
import {
  compareHeads,
  EPOCH_NONE,
  type Foresight,
  type VolumeId,
  type VolumeStatus,
} from '@cloudfs/interface'
import type { Clients } from './clients.js'
import type { Cluster } from './cluster.js'
import { BLOCK_BYTES, writesIn } from './contents.js'
import type { Host } from './host.js'
import { chance, pick, type Random, spread, within } from './random.js'
import { readExport } from './read-export.js'
import { MILLISECOND, SECOND } from './schedule.js'

/** As nodes have it: one that starts is not led by who was counted as lost until it had time to hear that it is out. */
const SHIPPED_PATIENT_MS = 3_000
const PATIENCE_NS = 30 * SECOND
/** The set grows to that, if there are so many hosts. */
const VOTERS_AGAIN = 3

interface ForcedParts {
  readonly cluster: Cluster
  readonly volume: VolumeId
  readonly clients: Clients
  readonly random: Random
  /** Of the volume that clients use. */
  readonly blockCount: number
  /** They come back, if they go: somebody has the volume attached there. */
  readonly homes: readonly Host[]
  readonly mayCutPower: (host: Host) => boolean
  /** The volume is about to be forced, by a host that has this; undefined: it does not tell. */
  readonly onHeld: (units: readonly number[] | undefined) => void
}

interface Survivor {
  readonly host: Host
  readonly foresight: Foresight
}

export class Forced {
  readonly #parts: ForcedParts
  /** They never come back. */
  readonly gone = new Set<Host>()

  constructor(parts: ForcedParts) {
    this.#parts = parts
  }

  /** @returns whether the volume goes on */
  async run(): Promise<boolean> {
    const { cluster, clients, homes, random } = this.#parts
    cluster.patientMs = SHIPPED_PATIENT_MS
    clients.go()
    await this.#pass(50 * MILLISECOND, SECOND)
    const { left, lost } = this.#lose()
    if (chance(random, 0.3)) this.#restart(pick(random, left))
    await this.#pass(MILLISECOND, 4 * SECOND)
    if (!(await this.#force(left))) return false
    for (const host of lost) {
      if (homes.includes(host) || chance(random, 0.6)) this.#comesBack(host)
      else this.gone.add(host)
    }
    await this.#pass(MILLISECOND, 2 * SECOND)
    await this.#grow()
    // All that comes back has.
    await cluster.runTill(
      () => this.#there.every(({ isReady }) => isReady) && !cluster.isChanging,
      PATIENCE_NS,
    )
    return true
  }

  get #there(): readonly Host[] {
    return this.#parts.cluster.hosts.filter((host) => !this.gone.has(host))
  }

  async #pass(minNs: number, maxNs: number): Promise<void> {
    const { cluster, random } = this.#parts
    await cluster.runUntil(cluster.schedule.nowNs + spread(random, minNs, maxNs))
  }

  /** So many of the voters go that the others are no majority. */
  #lose(): { readonly left: readonly Host[]; readonly lost: readonly Host[] } {
    const { cluster, random, mayCutPower } = this.#parts
    const rest = cluster.sets.now.filter(({ isVoter }) => isVoter).map(({ index }) => cluster.host(index))
    const majority = Math.floor(rest.length / 2) + 1
    const leftCount = within(random, 1, majority)
    const left = Array.from({ length: leftCount }, () => {
      const one = pick(random, rest)
      rest.splice(rest.indexOf(one), 1)
      return one
    })
    for (const host of rest) {
      cluster.log.story(host.name, 'is lost')
      if (mayCutPower(host) && chance(random, 0.5)) host.cutPower()
      else host.kill()
    }
    cluster.coverage.count('fault:majority lost')
    return { left, lost: rest }
  }

  #restart(host: Host): void {
    const { cluster, random } = this.#parts
    host.kill()
    cluster.schedule.after(spread(random, MILLISECOND, SECOND), () => {
      host.start()
    })
  }

  #comesBack(host: Host): void {
    const { cluster, random } = this.#parts
    cluster.schedule.after(spread(random, MILLISECOND, 3 * SECOND), () => {
      cluster.coverage.count('fault:counted as lost, and back')
      host.start()
    })
  }

  /** As `cloudfs force` does it: of those that answer the one that has most; asked again where it is too soon. */
  async #force(left: readonly Host[]): Promise<boolean> {
    const { cluster, volume, random } = this.#parts
    const untilNs = cluster.schedule.nowNs + PATIENCE_NS
    let code = 'nobody answers'
    while (cluster.schedule.nowNs < untilNs && cluster.fault === undefined) {
      const best = await this.#most(left)
      if (best !== undefined) {
        this.#parts.onHeld(await this.#unitsAt(best.host))
        code = await this.#forceAt(best.host)
        cluster.coverage.count(`operator:force${code === '' ? '' : ` ${code}`}`)
        cluster.log.story('operator', `forces volume ${volume} at ${best.host.name}: ${code || 'done'}`)
        if (code === '') return true
      }
      await cluster.runUntil(cluster.schedule.nowNs + spread(random, 50 * MILLISECOND, SECOND))
    }
    // Where the set was being changed the host that has most may be none that is left here: not looked into yet.
    if (code === 'ERR_FORCE_REFUSED') cluster.coverage.count('checker:force stays refused')
    else cluster.onFault(`a volume whose majority is lost cannot be forced: ${code}`)
    return false
  }

  async #most(hosts: readonly Host[]): Promise<Survivor | undefined> {
    const { cluster, volume } = this.#parts
    let best: Survivor | undefined
    for (const host of hosts) {
      const asked = { volume, epoch: { ...EPOCH_NONE, host: host.host } }
      const answer = await cluster.ask(host.index, 'would-promise', asked, SECOND)
      if (answer === undefined || answer.errorCode !== '') continue
      const foresight = answer.result as Foresight
      if (best === undefined || compareHeads(foresight.head, best.foresight.head) > 0)
        best = { host, foresight }
    }
    return best
  }

  /** What it shows of the volume: of a primary that has lost its majority, nothing. */
  async #unitsAt(host: Host): Promise<readonly number[] | undefined> {
    const { cluster, volume, blockCount } = this.#parts
    const answer = await cluster.ask(host.index, 'volumes', { volume }, SECOND)
    const status = (answer?.result as VolumeStatus[] | undefined)?.[0]
    if (status?.role !== 'follower') return undefined
    const bytes = await readExport(cluster, host, volume, SECOND)
    if (typeof bytes === 'string') return undefined
    cluster.coverage.count('checker:what is left before force')
    return writesIn(bytes.subarray(0, blockCount * BLOCK_BYTES), 0)
  }

  async #forceAt(host: Host): Promise<string> {
    const { cluster, volume } = this.#parts
    let code: string | undefined
    const { life } = host
    cluster.force(volume, host.index, (said) => {
      code = said
    })
    await cluster.runTill(() => code !== undefined || host.life !== life || !host.isUp, PATIENCE_NS)
    return code ?? 'it went'
  }

  /** Operators add one host after the other, whoever it is. */
  async #grow(): Promise<void> {
    const { cluster, random } = this.#parts
    const untilNs = cluster.schedule.nowNs + 2 * PATIENCE_NS
    const isDone = (): boolean => {
      const voters = cluster.sets.now.filter(({ isVoter }) => isVoter).length
      return voters >= Math.min(VOTERS_AGAIN, this.#there.length) && !cluster.isChanging
    }
    while (!isDone() && cluster.fault === undefined) {
      if (cluster.schedule.nowNs > untilNs) {
        cluster.onFault('behind force the set does not grow again')
        return
      }
      await cluster.runUntil(cluster.schedule.nowNs + spread(random, 50 * MILLISECOND, 500 * MILLISECOND))
      if (cluster.isChanging) continue
      const { now } = cluster.sets
      const learner = now.find(({ isVoter }) => !isVoter)
      const others = this.#there.filter(({ index }) => !now.some((one) => one.index === index))
      const joins =
        learner === undefined ? others[within(random, 0, others.length)] : cluster.host(learner.index)
      if (joins === undefined) continue
      await this.#add(joins)
    }
  }

  /** Until that is answered: what was asked and not begun is under way still. */
  async #add(joins: Host): Promise<void> {
    const { cluster, volume } = this.#parts
    const from = cluster.host(cluster.leaderOf(volume))
    const { life } = from
    let isAnswered = false
    cluster.changeSet(volume, { joins: { host: joins.host, store: joins.store } }, (code) => {
      isAnswered = true
      cluster.coverage.count(`operator:add behind force${code === '' ? '' : ` ${code}`}`)
      cluster.log.story('operator', `adds ${joins.name} behind force: ${code || 'begun'}`)
    })
    await cluster.runTill(() => isAnswered || from.life !== life || !from.isUp, PATIENCE_NS)
  }
}
