/**
 * Carries out, at a volume's primary, what is wished of the hosts that keep it, in steps of which each is one change of the
 * set (M1): who joins learns first, and votes when it has everything, in another's place. What is wished is forgotten when
 * the volume gets another primary; a learner that is left over counts for nothing until somebody says what it is for.
 */
import {
  type HostId,
  isCloudfsError,
  type MemberProgress,
  NotPrimaryError,
  type StoreId,
  type VolumeId,
} from '@cloudfs/interface'
import { HandOverError, LastReplicaError } from '../errors.js'
import type { SetChange } from '../views/candidate.js'
import type { ViewClock } from '../views/ports.js'
import { type Member, sameMembers } from '../views/sets.js'
import { dataOf, degrades } from '../views/witness.js'

/** Between two looks at how far a learner is. */
const LOOK_MS = 250
/** Behind a step that failed. */
const RETRY_MS = 1_000
/** Another member may stand at the same time, and then nobody has its way. */
const CHANGE_TRIES = 3

/** `joins` is to vote, in the place of `leaves` if that is named; without it, `leaves` goes at once. */
export interface Wish {
  readonly joins?: Place | undefined
  readonly leaves?: HostId | undefined
}

/** A member, wherever it stands. */
export interface Place {
  readonly host: HostId
  readonly store: StoreId
}

/** A volume that this host leads. */
export interface Led {
  readonly mode: string
  readonly members: readonly Member[]
  readonly progress: readonly MemberProgress[]
}

export interface SetPorts {
  readonly host: HostId
  readonly clock: ViewClock
  /** Undefined: this host does not lead it. */
  readonly led: (volume: VolumeId) => Promise<Led | undefined>
  readonly changeSet: (volume: VolumeId, change: SetChange) => Promise<void>
  readonly handOver: (volume: VolumeId, to: HostId) => Promise<void>
  /** Has another host, which leads the volume, begin with this. */
  readonly ask: (primary: HostId, volume: VolumeId, wish: Wish) => Promise<void>
  readonly log: (message: string, detail: object) => void
  /** What is no refusal of the world's. */
  readonly onBug: (error: unknown) => void
}

interface Joining extends Wish {
  readonly joins: Place
}

export class SetChanges {
  readonly #ports: SetPorts
  readonly #wishes = new Map<VolumeId, Joining>()
  readonly #changing = new Set<VolumeId>()
  readonly #running = new Set<Promise<void>>()
  readonly #stop = new AbortController()

  constructor(ports: SetPorts) {
    this.#ports = ports
  }

  /** Volumes of which something is wished and not done. */
  get volumes(): ReadonlySet<VolumeId> {
    return new Set(this.#wishes.keys())
  }

  /**
   * The first step, which tells whether it can be done at all; the others follow by themselves.
   *
   * @throws {NotPrimaryError}; {LastReplicaError}; {HandOverError}; {SetChangeError} too few members answer
   */
  async begin(volume: VolumeId, { joins, leaves }: Wish): Promise<void> {
    if (joins === undefined) {
      if (leaves !== undefined) await this.#leave(volume, leaves)
      return
    }
    const { members, mode } = await this.#led(volume)
    // Nobody else can lead: it would never be done.
    if (leaves === this.#ports.host && mode === 'local')
      throw new HandOverError(`volume ${volume} is in mode local: its primary cannot be replaced`, { volume })
    if (!members.some(({ store }) => store === joins.store))
      await this.#change(volume, members, [...members, { ...joins, role: 'learner' }])
    const isNew = !this.#wishes.has(volume)
    this.#wishes.set(volume, { joins, leaves })
    if (!isNew) return
    const running = this.#drive(volume).finally(() => {
      this.#wishes.delete(volume)
      this.#running.delete(running)
    })
    this.#running.add(running)
  }

  /**
   * W4: on without a data member, which learns when it is back; whatever else is wished goes on behind it.
   *
   * @throws {NotPrimaryError}; {SetChangeError} too few members answer
   */
  async degrade(volume: VolumeId, without: HostId): Promise<void> {
    if (this.#changing.has(volume)) return
    const { members } = await this.#led(volume)
    const to = members.map((each) =>
      each.host === without && each.role === 'data' ? { ...each, role: 'learner' as const } : each,
    )
    if (!degrades(members, to) || dataOf(to).length === 0) return
    await this.#change(volume, members, to)
    this.#ports.log('the set goes on without a data member', { volume, without })
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error('the node stops'))
    await Promise.all(this.#running)
  }

  async #drive(volume: VolumeId): Promise<void> {
    const { clock, log, onBug } = this.#ports
    const { signal } = this.#stop
    for (;;) {
      let pauseMs = LOOK_MS
      try {
        const wish = this.#wishes.get(volume)
        if (wish === undefined || (await this.#step(volume, wish))) return
      } catch (error) {
        if (signal.aborted) return
        if (!isCloudfsError(error)) {
          onBug(error)
          return
        }
        log('the set is changed later', { volume, err: error })
        if (error instanceof NotPrimaryError) return
        pauseMs = RETRY_MS
      }
      await clock.sleep(pauseMs, signal).catch(() => undefined)
      if (signal.aborted) return
    }
  }

  /** @returns whether nothing is left to do */
  async #step(volume: VolumeId, { joins, leaves }: Joining): Promise<boolean> {
    const { host, log } = this.#ports
    const { members, progress } = await this.#led(volume)
    const joined = members.find(({ store }) => store === joins.store)
    if (joined === undefined) return true
    if (joined.role === 'learner') {
      if (!progress.some(({ store, state }) => store === joins.store && state === 'in-step')) return false
      // This host goes once another leads.
      const stay = members.filter((each) => each.host !== leaves || each.host === host)
      const to = stay.map((each) => (each.store === joins.store ? { ...each, role: 'data' as const } : each))
      await this.#change(volume, members, to)
      log('a new replica votes', { volume, joins: joins.host, leaves })
    }
    if (leaves !== undefined) await this.#leave(volume, leaves, joins.host)
    return true
  }

  /** @param heir - leads if this host is the one that goes */
  async #leave(volume: VolumeId, leaves: HostId, heir?: HostId): Promise<void> {
    const { host, handOver, ask } = this.#ports
    const members = await this.#members(volume)
    if (!members.some((each) => each.host === leaves)) return
    if (leaves !== host) {
      await this.#change(
        volume,
        members,
        members.filter((each) => each.host !== leaves),
      )
      return
    }
    const next = heir ?? members.find((each) => each.host !== host && each.role === 'data')?.host
    if (next === undefined) throw new LastReplicaError(`nobody else keeps volume ${volume}`, { volume })
    await handOver(volume, next)
    await ask(next, volume, { leaves })
  }

  async #change(volume: VolumeId, from: readonly Member[], to: readonly Member[]): Promise<void> {
    if (sameMembers(from, to)) return
    this.#changing.add(volume)
    try {
      await this.#tryChange(volume, from, to)
    } finally {
      this.#changing.delete(volume)
    }
  }

  async #tryChange(volume: VolumeId, from: readonly Member[], to: readonly Member[]): Promise<void> {
    const { changeSet, clock, log } = this.#ports
    for (let left = CHANGE_TRIES; ;) {
      try {
        await changeSet(volume, { from, to })
        return
      } catch (error) {
        if (!isCloudfsError(error) || --left === 0) throw error
        log('the set is changed at another try', { volume, err: error })
        await clock.sleep(RETRY_MS, this.#stop.signal)
        const now = await this.#members(volume)
        if (sameMembers(now, to)) return
        if (!sameMembers(now, from)) throw error
      }
    }
  }

  async #led(volume: VolumeId): Promise<Led> {
    const led = await this.#ports.led(volume)
    if (led === undefined) throw new NotPrimaryError(`this host does not lead volume ${volume}`, { volume })
    return led
  }

  async #members(volume: VolumeId): Promise<readonly Member[]> {
    return (await this.#led(volume)).members
  }
}
