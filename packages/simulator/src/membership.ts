/**
 * What a node does about the members of its volumes, besides elections: calls those that do not follow, carries out what is
 * wished of the set, replaces who has been gone for long, drops what it keeps no longer. The decisions are the shipped ones.
 */
import { decodeView, type ViewPayload } from '@cloudfs/format'
import {
  compareEpochs,
  type Epoch,
  type HostId,
  hexToBytes,
  isCloudfsError,
  UnknownVolumeError,
  type VolumeId,
  type VolumeStatus,
} from '@cloudfs/interface'
import {
  Absences,
  Degrading,
  deletedOf,
  findWhetherMayDrop,
  type Led,
  type Place,
  SetChanges,
  type Settled,
  type Views,
  type Wish,
} from '@cloudfs/protocol'
import { type PolicyPorts, SimulatedError } from './policy.js'
import { below } from './random.js'

/** Nodes look every few seconds, and whenever something has changed. */
const UPKEEP_MS = 300
const ASK_TIMEOUT_MS = 5_000
const KEY_TIMEOUT_MS = 500
const STEP_TIMEOUT_MS = 25_000
/** Sooner than nodes do, for much is to happen in a life. */
const DEGRADE_AFTER_MS = 100

export function viewOf({ view }: VolumeStatus): ViewPayload {
  return decodeView(hexToBytes(view as string))
}

function ledOf(status: VolumeStatus): Led {
  const members = viewOf(status).members.map(({ host, store, role }) => ({ host, store, role }))
  return { mode: status.mode, members, progress: status.members ?? [] }
}

/** Questions of other hosts. */
interface Requests {
  /** The caller leads, and misses the host asked. */
  call: { volume: VolumeId; epoch: Epoch }
  /** The caller follows the host asked, if it may. */
  'follow-key': { volume: VolumeId }
  set: { volume: VolumeId; wish: Wish }
  settled: { volume: VolumeId }
  deleted: { volume: VolumeId }
}

export class Membership {
  readonly #ports: PolicyPorts
  readonly #views: Views
  readonly #changes: SetChanges
  readonly #absences: Absences
  readonly #degrading = new Degrading(DEGRADE_AFTER_MS)
  readonly #calling = new Set<HostId>()
  readonly #stop = new AbortController()
  #isMending = false

  constructor(ports: PolicyPorts, views: Views) {
    this.#ports = ports
    this.#views = views
    const { ask, clock, host, indexOf, onBug } = ports
    this.#absences = new Absences(ports.replaceAfterMs)
    this.#changes = new SetChanges({
      host,
      clock,
      led: async (volume) => {
        const status = await this.#status(volume)
        return status?.role === 'primary' ? ledOf(status) : undefined
      },
      changeSet: (volume, change) => views.changeSet(volume, change),
      handOver: (volume, to) => views.handOver(volume, to),
      ask: async (primary, volume, wish) => {
        await ask(indexOf(primary), 'set', { volume, wish }, STEP_TIMEOUT_MS)
      },
      log: (message, detail) => {
        ports.say(`${message} ${JSON.stringify(detail)}`)
      },
      onBug,
    })
    this.#run(this.#upkeep())
  }

  /** What is wished, and not done. */
  get isBusy(): boolean {
    return this.#changes.volumes.size > 0
  }

  change(volume: VolumeId, wish: Wish): Promise<void> {
    return this.#changes.begin(volume, wish)
  }

  /** @returns undefined: another asks, or does */
  answer(name: string, body: unknown, caller: HostId): Promise<unknown> | undefined {
    const answers: { [Name in keyof Requests]: (body: Requests[Name]) => Promise<object> } = {
      call: (asked) => this.#onCall(asked, caller),
      'follow-key': ({ volume }) => this.#keyFor(volume, caller),
      set: async ({ volume, wish }) => {
        await this.#changes.begin(volume, wish)
        return {}
      },
      settled: ({ volume }) => this.#settled(volume, caller),
      deleted: async ({ volume }) => deletedOf(await this.#ports.command('volumes', { all: true }), [volume]),
    }
    return name in answers ? answers[name as keyof Requests](body as never) : undefined
  }

  /** As an engine is told to follow: the leader gives members a key. */
  async follow(volume: VolumeId, leader: HostId): Promise<void> {
    const { ask, follow, indexOf } = this.#ports
    await ask(indexOf(leader), 'follow-key', { volume }, KEY_TIMEOUT_MS)
    follow(volume, indexOf(leader))
  }

  /** Looks at once, for something has changed. */
  soon(): void {
    this.#run(this.#mend())
  }

  close(): Promise<void> {
    this.#stop.abort(new Error('the node stops'))
    return this.#changes.close()
  }

  #run(work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (!this.#stop.signal.aborted && !isCloudfsError(error)) this.#ports.onBug(error)
    })
  }

  async #upkeep(): Promise<void> {
    const { clock, random } = this.#ports
    const { signal } = this.#stop
    for (;;) {
      await this.#mend()
      await clock.sleep(UPKEEP_MS + below(random, UPKEEP_MS), signal)
    }
  }

  async #mend(): Promise<void> {
    if (this.#isMending) return
    this.#isMending = true
    try {
      const held = await this.#ports.command('volumes', { all: true })
      for (const status of held) await this.#mendOne(status)
      this.#replace(held)
    } catch (error) {
      if (!isCloudfsError(error)) throw error
      this.#ports.say(`is looked at later: ${error.code} ${error.message}`)
    } finally {
      this.#isMending = false
    }
  }

  async #mendOne(status: VolumeStatus): Promise<void> {
    const { host, store, leaderOf, indexOf } = this.#ports
    const { volume, role } = status
    const { members } = viewOf(status)
    const own = members.find((each) => each.host === host && each.store === store)
    if (status.left || own?.role !== 'data') this.#views.remove(volume)
    else this.#views.add(volume)
    if (status.left || status.deletionCommitted) return
    if (role === 'primary')
      for (const { host: member, state } of status.members ?? [])
        if (state === 'away') this.#call(status, member)
    if (role !== 'follower') return
    const leader = [status.promised.host, viewOf(status).primary].find((each) => each !== host)
    if (own !== undefined && leader !== undefined && leaderOf(volume) !== indexOf(leader))
      await this.follow(volume, leader).catch(ignoreRefusal)
    if (status.led && own !== undefined && !this.#ports.isPassedByForce(volume)) return
    if (own !== undefined && (await this.#isDeleted(status))) {
      await this.#drop(volume)
      return
    }
    const epoch = await this.#mayDrop(status)
    if (epoch !== undefined) await this.#drop(volume, epoch)
  }

  /** @see `Leading` of the replicator */
  #call({ volume, epoch }: VolumeStatus, member: HostId): void {
    if (this.#calling.has(member)) return
    const { ask, indexOf } = this.#ports
    this.#calling.add(member)
    const asking = ask(indexOf(member), 'call', { volume, epoch }, ASK_TIMEOUT_MS)
    const told = asking.then((answer) => {
      const { promised } = answer as { promised?: Epoch }
      if (promised !== undefined) this.#views.onEvent({ name: 'epoch-refused', detail: { volume, promised } })
    })
    this.#run(
      told.finally(() => {
        this.#calling.delete(member)
      }),
    )
  }

  async #onCall({ volume, epoch }: Requests['call'], caller: HostId): Promise<{ promised?: Epoch }> {
    const status = await this.#status(volume)
    if (status !== undefined && compareEpochs(status.promised, epoch) > 0)
      return { promised: status.promised }
    if (status === undefined || status.role === 'follower') await this.follow(volume, caller)
    else this.#views.onEvent({ name: 'epoch-refused', detail: { volume, promised: epoch } })
    return {}
  }

  async #keyFor(volume: VolumeId, caller: HostId): Promise<object> {
    const status = await this.#status(volume)
    if (status === undefined) throw new UnknownVolumeError(`no volume ${volume} is here`, { volume })
    if (!viewOf(status).members.some(({ host }) => host === caller))
      throw new SimulatedError('ERR_NOT_MEMBER', `host ${caller} is no member`)
    return {}
  }

  // --- Who is out ------------------------------------------------------------------------------------------------------

  #mayDrop(status: VolumeStatus): Promise<Epoch | undefined> {
    const { host, store, ask, indexOf } = this.#ports
    const { volume, promised, epoch } = status
    return findWhetherMayDrop(
      { host, store, promised, isPassedByForce: this.#ports.isPassedByForce(volume) },
      { epoch, members: viewOf(status).members },
      async (voter) => (await ask(indexOf(voter), 'settled', { volume }, ASK_TIMEOUT_MS)) as Settled,
    )
  }

  /** @see `Following` of the replicator */
  async #isDeleted(status: VolumeStatus): Promise<boolean> {
    const { host, ask, indexOf } = this.#ports
    const { volume } = status
    const others = viewOf(status).members.filter((each) => each.host !== host)
    const answers = await Promise.allSettled(
      others.map((each) => ask(indexOf(each.host), 'deleted', { volume }, ASK_TIMEOUT_MS)),
    )
    return answers.some((said) => said.status === 'fulfilled' && (said.value as VolumeId[]).includes(volume))
  }

  /** @param epoch - of the view that leaves this host out; without it the volume was deleted */
  async #drop(volume: VolumeId, epoch?: Epoch): Promise<void> {
    const { command, unfollow, onDropped, clock } = this.#ports
    unfollow(volume)
    // Until the engine has closed the connection.
    await clock.sleep(20, this.#stop.signal)
    await command('drop', epoch === undefined ? { volume } : { volume, left: true, epoch })
    onDropped(volume)
  }

  async #settled(volume: VolumeId, caller: HostId): Promise<Settled> {
    const { command, host } = this.#ports
    const status = await this.#status(volume)
    if (status === undefined || (status.deleted && !status.left))
      return { epoch: { counter: 0, host }, members: [] }
    const { members } = ledOf(status)
    if (!members.some((each) => each.host === caller)) await command('checkpoint', {})
    return { epoch: status.epoch, members }
  }

  // --- Who has been gone for long --------------------------------------------------------------------------------------

  #replace(held: readonly VolumeStatus[]): void {
    const { clock, places, random, say, onDegrading, onReplaced } = this.#ports
    const led = new Map(
      held
        .filter(({ role, established }) => role === 'primary' && established)
        .map((status) => [status.volume, ledOf(status)]),
    )
    const nowMs = clock.nowMs()
    for (const step of this.#degrading.steps(led, nowMs)) {
      const { volume } = step
      if ('again' in step && this.#changes.volumes.has(volume)) continue
      this.#degrading.tried(volume, nowMs)
      say('again' in step ? 'a data member counts again' : 'goes on with one data copy')
      onDegrading('again' in step ? 'again' : 'without')
      this.#run(
        'again' in step
          ? this.#changes.begin(volume, { joins: step.again })
          : this.#changes.degrade(volume, step.without),
      )
    }
    for (const { volume, host: gone } of this.#absences.overdue(led, nowMs)) {
      if (this.#changes.volumes.has(volume)) continue
      this.#absences.tried(volume, nowMs)
      const members = led.get(volume)?.members ?? []
      const learner: Place | undefined = members.find(({ role, host }) => role === 'learner' && host !== gone)
      const others = places.filter(({ host }) => !members.some((each) => each.host === host))
      const joins = learner ?? others[below(random, others.length)]
      if (joins === undefined) continue
      say(`replaces ${gone.slice(0, 4)}, which is gone, by ${joins.host.slice(0, 4)}`)
      onReplaced(volume)
      const { host, store } = joins
      this.#run(this.#changes.begin(volume, { joins: { host, store }, leaves: gone }))
    }
  }

  async #status(volume: VolumeId): Promise<VolumeStatus | undefined> {
    const [status] = await this.#ports.command('volumes', { all: true, volume })
    return status
  }
}

function ignoreRefusal(error: unknown): void {
  if (!isCloudfsError(error)) throw error
}
