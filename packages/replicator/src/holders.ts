/**
 * Who has the volumes attached that this host leads: one host for writing, or several that all share. It stands in each
 * volume's history (docs/core.md, Sessions): an attach record, made by comparing and setting, which a majority has before
 * anybody serves anything by it, and which every next primary has. What is kept here is a copy.
 */
import { setTimeout as delay } from 'node:timers/promises'
import {
  type HostId,
  isCloudfsError,
  NotPrimaryError,
  UnknownVolumeError,
  VolumeAttachedError,
  type VolumeHolder,
  type VolumeId,
  type VolumeStatus,
} from '@cloudfs/interface'
import type { EngineSupervisor } from './engine-supervisor.js'
import { NoMajorityError, NotAttachedError, TooManyHoldersError } from './errors.js'
import { viewOf } from './held-volumes.js'
import type { Lead, Way } from './peer-requests.js'
import { Turns } from './turns.js'

/** Of an attach record. */
const HOLDERS_MAX = 64
/** In which a `restart` view ended a holder's session. */
const SESSION_ENDED = '0'.repeat(32)
/** A record that an earlier primary left uncommitted is committed by then, or this host leads no more. */
const CHANGE_MS_MAX = 15_000
const CHANGE_RETRY_MS = 20

/** What a host asks for that is to serve a volume. */
export interface HolderRequest {
  readonly host: HostId
  readonly socket: string
  /** Left out: as it stands in the record, in which the host is already. */
  readonly isShared?: boolean | undefined
  /** Of the endpoint to be made. */
  readonly session: string
  /** Of the endpoint that the host has: it goes on if it is still the record's. */
  readonly current?: string | undefined
  /** Hosts that do not let it in are left out from now on. */
  readonly take: boolean
}

interface HoldersOptions {
  readonly host: HostId
  readonly engine: Pick<EngineSupervisor, 'result' | 'call'>
  /** What another host's endpoint needs to reach the volume here. */
  readonly wayFor: (volume: VolumeId, host: HostId) => Promise<Way>
}

export class Holders {
  readonly #options: HoldersOptions
  readonly #turns = new Turns()
  /** Of the volumes that this host leads, as they were when it last looked. */
  readonly #known = new Map<VolumeId, readonly VolumeHolder[]>()

  constructor(options: HoldersOptions) {
    this.#options = options
  }

  of(volume: VolumeId): readonly VolumeHolder[] {
    return this.#known.get(volume) ?? []
  }

  /**
   * Looks at the record.
   *
   * @returns what each host is to know that stands in it, or stood in it before: none, if this host does not lead the volume
   * @throws {NotPrimaryError} it has no majority that says so
   */
  async leads(volume: VolumeId): Promise<ReadonlyMap<HostId, Lead>> {
    const before = this.of(volume)
    const [status] = await this.#options.engine.result('volumes', { volume })
    if (status?.role !== 'primary') {
      this.#known.delete(volume)
      return new Map()
    }
    this.#known.set(volume, status.attach.holders)
    refuseUnconfirmed(status)
    const hosts = new Set([...before, ...status.attach.holders].map(({ host }) => host))
    return new Map(
      await Promise.all([...hosts].map(async (host) => [host, await this.#leadFor(status, host)] as const)),
    )
  }

  forget(volume: VolumeId): void {
    this.#known.delete(volume)
  }

  forgetAll(): void {
    this.#known.clear()
  }

  /**
   * What a host is to know of a volume that this one leads.
   *
   * @throws {NotPrimaryError} it does not, or has no majority that says so; {UnknownVolumeError}
   */
  async lead(volume: VolumeId, host: HostId): Promise<Lead> {
    return this.#leadFor(await this.#led(volume), host)
  }

  async #leadFor(status: VolumeStatus, host: HostId): Promise<Lead> {
    const { volume, epoch, version, attach } = status
    const holder = attach.holders.find((each) => each.host === host)
    const { members } = viewOf(status)
    return {
      volume,
      epoch,
      version,
      revision: attach.revision,
      members: members.map((member) => member.host),
      ...(holder !== undefined && {
        holder: { session: holder.session, isShared: holder.isShared },
        ...(host !== this.#options.host && { way: await this.#options.wayFor(volume, host) }),
      }),
    }
  }

  /**
   * Gives the volume to a host; one that has it already keeps it.
   *
   * @throws {VolumeAttachedError} another host has it, and one of the two does not share
   * @throws {NotAttachedError} it says that it has it already, and has not
   * @throws {TooManyHoldersError} {NoMajorityError} {NotPrimaryError}
   */
  attach(volume: VolumeId, request: HolderRequest): Promise<void> {
    return this.#change(volume, (present) => withHolder(volume, present, request))
  }

  /** @throws {NotAttachedError} the host does not have it */
  release(volume: VolumeId, host: HostId): Promise<void> {
    return this.#change(volume, (present) => {
      if (!present.some((each) => each.host === host)) throw notAttached(volume, host)
      return present.filter((each) => each.host !== host)
    })
  }

  /** For what must not run while somebody attaches. @throws {VolumeAttachedError} somebody has the volume */
  whileFree<Result>(volume: VolumeId, act: () => Promise<Result>): Promise<Result> {
    return this.#turns.take(volume, async () => {
      const [holder] = (await this.#led(volume)).attach.holders
      if (holder !== undefined) throw attachedAt(volume, holder)
      return act()
    })
  }

  /** @param decide - who is to have it of those who have, or nothing if that is as it should be */
  #change(
    volume: VolumeId,
    decide: (present: readonly VolumeHolder[]) => readonly VolumeHolder[] | undefined,
  ): Promise<void> {
    return this.#turns.take(volume, async () => {
      const giveUpMs = performance.now() + CHANGE_MS_MAX
      for (;;) {
        const { holders, revision } = (await this.#led(volume)).attach
        const next = decide(holders)
        if (next === undefined) return
        if (next.length > HOLDERS_MAX)
          throw new TooManyHoldersError(`the volume is attached at ${String(HOLDERS_MAX)} hosts already`, {
            volume,
          })
        try {
          await this.#record(volume, next, revision)
          return
        } catch (error) {
          const isLate = performance.now() > giveUpMs
          if (!isCloudfsError(error) || error.code !== 'ERR_ATTACHMENT_CHANGED' || isLate) throw error
        }
        await delay(CHANGE_RETRY_MS)
      }
    })
  }

  /** The engine answers when it is committed, which may be never: then whoever asks again finds what came of it. */
  async #record(volume: VolumeId, holders: readonly VolumeHolder[], after: number): Promise<void> {
    const late = new AbortController()
    const made = this.#options.engine.call('attach', { volume, holders, after }).then(() => true)
    made.catch(() => undefined)
    try {
      if (await Promise.race([made, delay(CHANGE_MS_MAX, false, { signal: late.signal })])) return
    } finally {
      late.abort()
    }
    throw new NoMajorityError('no majority has taken who has the volume attached', { volume })
  }

  async #led(volume: VolumeId): Promise<VolumeStatus> {
    const [status] = await this.#options.engine.result('volumes', { volume })
    if (status === undefined) throw new UnknownVolumeError(`no volume ${volume} is here`, { volume })
    refuseUnconfirmed(status)
    return status
  }
}

function refuseUnconfirmed({ volume, role, serving }: VolumeStatus): void {
  if (role !== 'primary' || !serving)
    throw new NotPrimaryError(`this host does not lead volume ${volume}, or nobody confirms it`, { volume })
}

function withHolder(
  volume: VolumeId,
  present: readonly VolumeHolder[],
  { host, socket, session, current, take, ...wanted }: HolderRequest,
): readonly VolumeHolder[] | undefined {
  const own = present.find((each) => each.host === host)
  const isShared = wanted.isShared ?? own?.isShared
  if (isShared === undefined) throw notAttached(volume, host)
  const others = present.filter((each) => each.host !== host)
  const barring = others.filter((each) => !(each.isShared && isShared))
  const [first] = barring
  if (first !== undefined && !take) throw attachedAt(volume, first)
  // Asked twice, perhaps of two primaries, it is done once.
  const goesOn = own?.session === session || (own?.session === current && current !== SESSION_ENDED)
  const next = { session: own !== undefined && goesOn ? own.session : session, host, isShared, socket }
  const isSame = own !== undefined && goesOn && own.isShared === isShared && own.socket === socket
  if (isSame && barring.length === 0) return undefined
  return [...others.filter((each) => !barring.includes(each)), next]
}

function attachedAt(volume: VolumeId, holder: VolumeHolder): VolumeAttachedError {
  const how = holder.isShared ? 'shared' : 'not shared'
  return new VolumeAttachedError(`the volume is attached at host ${holder.host}, ${how}`, {
    volume,
    holder: holder.host,
  })
}

function notAttached(volume: VolumeId, host: string): NotAttachedError {
  return new NotAttachedError(`volume ${volume} is not attached at host ${host}`, { volume, host })
}
