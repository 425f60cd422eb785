/** What goes wrong in a run: each kind begins at a moment of its own and ends after a while, or when all is to be whole. */
import type { Attachment } from './attachment.js'
import type { Cluster } from './cluster.js'
import type { Host } from './host.js'
import { below, chance, pick, type Random, spread } from './random.js'
import { MILLISECOND, SECOND } from './schedule.js'

export const faultKinds = [
  'kill',
  'power',
  'power-all',
  'power-at-promise',
  'forgotten-promise',
  'unsent-tail',
  'power-others',
  'freeze',
  'suspend',
  'partition',
  'partial-partition',
  'partition-at-change',
  'one-way',
  'broken-stream',
  'broken-route',
  'slow-network',
  'lost-messages',
  'slow-disk',
  'full-disk',
  'failed-sync',
  'failed-write',
  'restart',
  'drift',
] as const
export type FaultKind = (typeof faultKinds)[number]

const STOP_PATIENCE_NS = 2 * SECOND

interface FaultsParts {
  readonly cluster: Cluster
  readonly random: Random
  readonly kinds: readonly FaultKind[]
  readonly meanNs: number
  readonly attachments: readonly Attachment[]
  /** What is not synced at this host may go: what was acknowledged lives elsewhere, or was never promised to last. */
  readonly mayCutPower: (host: Host) => boolean
  readonly mayFailSync: (host: Host) => boolean
}

export class Faults {
  readonly #parts: FaultsParts
  /** What ends faults that last. */
  readonly #ends = new Set<() => void>()
  #isOn = false
  #isPromiseAwaited = false
  #isChangeAwaited = false
  /** The primary of before, and what lets it be heard again. */
  #forgetting: { readonly primary: Host; readonly heal: () => void } | undefined

  constructor(parts: FaultsParts) {
    this.#parts = parts
  }

  begin(): void {
    this.#isOn = true
    this.#plan()
  }

  /** Everything is made whole, and nothing more goes wrong. */
  end(): void {
    this.#isOn = this.#isChangeAwaited = false
    for (const end of [...this.#ends]) end()
    for (const host of this.#parts.cluster.hosts) {
      host.disk.failsNextSync = host.disk.failsNextWrite = false
      if (!host.isUp) host.start()
    }
  }

  /** A host has answered another's question. */
  onAnswered(host: Host, name: string, caller: Host): void {
    const { cluster, mayCutPower, random } = this.#parts
    if (name === 'promise') this.#forgetPromise(host, caller)
    if (name !== 'promise' || !this.#isPromiseAwaited || !mayCutPower(host)) return
    this.#isPromiseAwaited = false
    this.#end(host, () => {
      cluster.coverage.count('fault:power-at-promise')
      cluster.log.story(host.name, 'fault: power-at-promise')
      host.cutPower()
    })
    // Whoever has the promise goes on with it much later.
    if (chance(random, 0.5))
      cluster.schedule.after(spread(random, MILLISECOND, 10 * MILLISECOND), () => {
        if (this.#isOn) this.#freeze(caller, [])
      })
  }

  /** A host is about to make a view of another set. */
  onSetChange(host: Host): void {
    const { cluster, random } = this.#parts
    if (!this.#isChangeAwaited) return
    this.#isChangeAwaited = false
    cluster.schedule.after(spread(random, MILLISECOND / 10, 20 * MILLISECOND), () => {
      if (!this.#isOn || !this.#cutOff(this.#fromSome(host))) return
      cluster.coverage.count('fault:partition-at-change')
      cluster.log.story(host.name, 'fault: partition-at-change')
    })
  }

  /** A host's process ended by itself: it is started again. */
  onDown(host: Host): void {
    this.#startLater(host, spread(this.#parts.random, 5 * MILLISECOND, 2 * SECOND))
  }

  #plan(): void {
    const { cluster, random, meanNs, kinds } = this.#parts
    cluster.schedule.after(-Math.log(1 - random()) * meanNs, () => {
      if (!this.#isOn) return
      this.#strike(pick(random, kinds))
      this.#plan()
    })
  }

  #strike(kind: FaultKind): void {
    const { cluster, random } = this.#parts
    const host = pick(random, cluster.hosts)
    if (!this.#do(kind, host)) return
    cluster.coverage.count(`fault:${kind}`)
    cluster.log.story(host.name, `fault: ${kind}`)
  }

  /** @returns whether it could be done */
  #do(kind: FaultKind, host: Host): boolean {
    const { attachments, cluster, random, mayCutPower, mayFailSync } = this.#parts
    switch (kind) {
      case 'kill':
        return this.#end(host, () => {
          host.kill()
        })
      case 'power':
        return (
          mayCutPower(host) &&
          this.#end(host, () => {
            host.cutPower()
          })
        )
      case 'power-all':
        if (!cluster.hosts.every(mayCutPower)) return false
        for (const one of cluster.hosts)
          if (one.isUp)
            this.#end(one, () => {
              one.cutPower()
            })
        return true
      case 'power-at-promise':
        return this.#cutPowerAtPromise()
      case 'forgotten-promise':
        return this.#awaitForgottenPromise()
      case 'unsent-tail':
        return this.#leaveTailUnsent()
      case 'power-others':
        return this.#cutPowerOfOthers(chance(random, 0.7) ? this.#leader : host)
      case 'freeze':
        return this.#freeze(host, [])
      case 'suspend':
        return this.#freeze(host, this.#around(host))
      case 'partition':
        return this.#cutOff(this.#around(host))
      case 'partial-partition':
        return this.#cutOff(this.#fromSome(host))
      case 'partition-at-change':
        return this.#cutOffAtChange()
      case 'one-way':
        return this.#cutOff(this.#oneWay(host))
      case 'broken-stream':
        return cluster.streams.breakOne(host)
      case 'broken-route':
        return attachments.length > 0 && pick(random, attachments).breakRoute()
      case 'slow-network':
        return this.#slowNetwork(host)
      case 'lost-messages':
        return this.#loseMessages()
      case 'slow-disk':
        host.disk.slowness = spread(random, 3, 60)
        return this.#for(spread(random, 50 * MILLISECOND, SECOND), () => {
          host.disk.slowness = 1
        })
      case 'full-disk':
        host.disk.isFull = true
        return this.#for(spread(random, 50 * MILLISECOND, SECOND), () => {
          host.disk.isFull = false
        })
      case 'failed-sync':
        if (!host.isReady || !mayFailSync(host)) return false
        host.disk.failsNextSync = true
        return true
      case 'failed-write':
        if (!host.isReady) return false
        host.disk.failsNextWrite = true
        return true
      case 'restart':
        if (!host.isReady || host.isFrozen) return false
        this.#stop(host)
        return true
      case 'drift':
        host.clock.drift(1 + (random() - 0.5) / 100)
        return true
    }
  }

  #end(host: Host, end: () => void): boolean {
    if (!host.isUp) return false
    end()
    this.#startLater(host, spread(this.#parts.random, 5 * MILLISECOND, 3 * SECOND))
    return true
  }

  /** Whoever promises next is without power at once: nothing may be left of a promise that was not synced. It counts then. */
  #cutPowerAtPromise(): false {
    this.#isPromiseAwaited = true
    this.#for(spread(this.#parts.random, 2 * SECOND, 8 * SECOND), () => {
      this.#isPromiseAwaited = false
    })
    return false
  }

  /**
   * What E1's sync is for: the primary is cut off; who promises another is without power before it could be synced, if it is late;
   * and whoever has that promise is held up until the primary of before may have won the other over. It counts then.
   */
  #awaitForgottenPromise(): false {
    const { cluster, mayCutPower, random } = this.#parts
    const primary = this.#leader
    const others = cluster.hosts.filter((one) => one !== primary)
    if (this.#forgetting !== undefined || others.length < 2 || !others.every(mayCutPower)) return false
    const restore = this.#around(primary).map(([from, to]) => cluster.network.cutOff(from, to))
    for (const { disk } of others) disk.slowness = spread(random, 2, 20)
    let isHealed = false
    const heal = (): void => {
      if (isHealed) return
      isHealed = true
      this.#forgetting = undefined
      for (const one of restore) one()
      for (const { disk } of others) disk.slowness = 1
    }
    this.#forgetting = { primary, heal }
    this.#for(spread(random, SECOND, 3 * SECOND), heal)
    return false
  }

  #forgetPromise(host: Host, candidate: Host): void {
    const { cluster, random } = this.#parts
    const { primary, heal } = this.#forgetting ?? {}
    if (heal === undefined || host === primary || candidate === primary) return
    cluster.coverage.count('fault:forgotten-promise')
    cluster.log.story(host.name, 'fault: forgotten-promise')
    host.cutPower()
    this.#startLater(host, spread(random, 5 * MILLISECOND, 50 * MILLISECOND))
    heal()
    cluster.schedule.after(spread(random, MILLISECOND / 2, 5 * MILLISECOND), () => {
      if (this.#isOn) this.#freeze(candidate, [])
    })
  }

  /**
   * What E6 is for: a primary makes updates that nobody else gets, dies and comes back with them, is elected for having most, and
   * the others have them long before its view is on their disks.
   */
  #leaveTailUnsent(): boolean {
    const { cluster, random } = this.#parts
    const primary = this.#leader
    const ways = this.#around(primary)
    if (!primary.isReady || primary.isFrozen || ways.length === 0) return false
    const restore = ways.map(([from, to]) => cluster.network.cutOff(from, to))
    return this.#for(spread(random, 2 * MILLISECOND, 60 * MILLISECOND), () => {
      for (const one of restore) one()
      if (!this.#isOn || !primary.isUp) return
      primary.kill()
      this.#startLater(primary, spread(random, 5 * MILLISECOND, 100 * MILLISECOND))
      for (const { disk } of cluster.hosts) disk.slowness = spread(random, 20, 60)
      this.#for(spread(random, SECOND, 3 * SECOND), () => {
        for (const { disk } of cluster.hosts) disk.slowness = 1
      })
    })
  }

  /** Whoever makes the next view of another set loses touch with some hosts while it does. It counts then. */
  #cutOffAtChange(): false {
    this.#isChangeAwaited = true
    return false
  }

  get #leader(): Host {
    const { cluster } = this.#parts
    const [volume] = cluster.volumes.keys()
    return cluster.host(volume === undefined ? 0 : cluster.leaderOf(volume))
  }

  /** Those without power may have to go on without what only this one still has, and then it comes back. */
  #cutPowerOfOthers(host: Host): boolean {
    const { cluster, random, mayCutPower } = this.#parts
    const others = cluster.hosts.filter((one) => one !== host)
    if (others.length === 0 || !others.every(mayCutPower)) return false
    const restore = this.#around(host).map(([from, to]) => cluster.network.cutOff(from, to))
    cluster.schedule.after(spread(random, MILLISECOND, 400 * MILLISECOND), () => {
      for (const one of others)
        if (this.#isOn)
          this.#end(one, () => {
            one.cutPower()
          })
    })
    return this.#for(spread(random, 2 * SECOND, 8 * SECOND), () => {
      for (const one of restore) one()
    })
  }

  /** As a supervisor does it: a process that does not end in time is killed. */
  #stop(host: Host): void {
    const { cluster } = this.#parts
    const { life } = host
    host.stop()
    cluster.schedule.after(STOP_PATIENCE_NS, () => {
      if (host.life !== life || !host.isUp) return
      cluster.coverage.count('protocol:stop took too long')
      host.kill()
      this.onDown(host)
    })
  }

  #startLater(host: Host, delayNs: number): void {
    const { life } = host
    this.#parts.cluster.schedule.after(delayNs, () => {
      if (host.life === life && !host.isUp) host.start()
    })
  }

  #freeze(host: Host, ways: readonly (readonly [number, number])[]): boolean {
    if (!host.isUp || host.isFrozen) return false
    const { life } = host
    const restore = ways.map(([from, to]) => this.#parts.cluster.network.cutOff(from, to))
    host.freeze()
    return this.#for(spread(this.#parts.random, 5 * MILLISECOND, 3 * SECOND), () => {
      for (const one of restore) one()
      if (host.life === life && host.isFrozen) host.thaw()
    })
  }

  /** All ways to and from a host. */
  #around(host: Host): [number, number][] {
    const others = this.#parts.cluster.hosts.filter((one) => one !== host)
    return others.flatMap<[number, number]>(({ index }) => [
      [host.index, index],
      [index, host.index],
    ])
  }

  /** Those in one direction, to some of the others or to all. */
  #oneWay(host: Host): [number, number][] {
    const { random } = this.#parts
    const side = below(random, 2)
    const ways = this.#around(host).filter((way) => way[side] === host.index)
    return ways.slice(chance(random, 0.5) ? 0 : ways.length - 1)
  }

  /** All ways to and from a host, of some of the others. */
  #fromSome(host: Host): [number, number][] {
    const { cluster, random } = this.#parts
    const others = cluster.hosts.filter((one) => one !== host && chance(random, 0.5))
    return others.flatMap<[number, number]>(({ index }) => [
      [host.index, index],
      [index, host.index],
    ])
  }

  #cutOff(ways: readonly (readonly [number, number])[]): boolean {
    if (ways.length === 0) return false
    const restore = ways.map(([from, to]) => this.#parts.cluster.network.cutOff(from, to))
    return this.#for(spread(this.#parts.random, 10 * MILLISECOND, 3 * SECOND), () => {
      for (const one of restore) one()
    })
  }

  #slowNetwork(host: Host): boolean {
    const { cluster, random } = this.#parts
    const ways = this.#around(host)
    if (ways.length === 0) return false
    for (const [from, to] of ways) cluster.network.slow(from, to, spread(random, 5, 200))
    return this.#for(spread(random, 50 * MILLISECOND, SECOND), () => {
      for (const [from, to] of ways) cluster.network.slow(from, to, 1)
    })
  }

  #loseMessages(): boolean {
    const { cluster, random } = this.#parts
    if (cluster.hosts.length === 1) return false
    cluster.network.lostShare = random() / 2
    cluster.network.doubledShare = chance(random, 0.5) ? 0.2 : 0
    return this.#for(spread(random, 100 * MILLISECOND, 2 * SECOND), () => {
      cluster.network.lostShare = cluster.network.doubledShare = 0
    })
  }

  /** It lasts so long. */
  #for(ns: number, end: () => void): true {
    const once = (): void => {
      if (this.#ends.delete(once)) end()
    }
    this.#ends.add(once)
    this.#parts.cluster.schedule.after(ns, once)
    return true
  }
}
