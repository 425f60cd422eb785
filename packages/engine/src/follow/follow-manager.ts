/** The volumes that this engine follows. It remembers them, so that an engine that starts alone goes on. */
import {
  type FollowArguments,
  type FollowStatus,
  StoreNotReadyError,
  type VolumeId,
} from '@cloudfs/interface'
import type { Logger } from 'pino'
import type { StoreService } from '../store-service.js'
import { endLater, Follow, openFollow, type Opening } from './follow.js'
import { LostHosts } from './lost-hosts.js'
import { readFollows, type StoredFollow, writeFollows } from './follows-file.js'

export interface FollowManagerOptions {
  /** The file that remembers. */
  readonly path: string
  readonly stores: readonly StoreService[]
  readonly log: Logger
}

/** A stream on its way to a host that is about to lead. */
interface Next extends Opening {
  readonly store: StoreService
  readonly arguments: FollowArguments
  /** It was elected, so it may wait for this host to speak first: for what it lacks itself. */
  isElected: boolean
}

export class FollowManager {
  readonly #options: FollowManagerOptions
  readonly #follows = new Map<VolumeId, Follow>()
  readonly #lost = new LostHosts()
  readonly #nexts = new Map<VolumeId, Next>()
  /** Ends when the file is as it was wanted when that was asked for. */
  #saving: Promise<void> | undefined
  /** What is to be written when that has ended, which whoever comes meanwhile shares. */
  #saveNext: Promise<void> | undefined
  #isClosed = false

  constructor(options: FollowManagerOptions) {
    this.#options = options
  }

  /** Goes on with what was followed before; what was told meanwhile is newer. */
  resume(): void {
    const { path, stores, log } = this.#options
    let stored: readonly StoredFollow[] = []
    try {
      stored = readFollows(path)
    } catch (error) {
      // The replicator knows it all, and says it again.
      log.warn({ err: error, path }, 'what was followed is forgotten')
    }
    for (const { store: id, ...follow } of stored) {
      if (this.#follows.has(follow.volume)) continue
      const store = stores.find(({ status }) => status.store === id)
      if (store !== undefined) this.#begin(store, follow)
      else
        log.warn({ store: id, volume: follow.volume }, 'a volume of a store that is not here is not followed')
    }
  }

  get status(): readonly FollowStatus[] {
    return [...this.#follows.values()].map(({ status }) => status)
  }

  /**
   * Begins at once, and resolves when it is remembered.
   *
   * @throws {StoreNotReadyError} the engine stops: a stream begun now would keep the process for ever
   */
  async follow(store: StoreService, wanted: FollowArguments): Promise<void> {
    if (this.#isClosed) throw new StoreNotReadyError('the engine stops')
    const present = this.#follows.get(wanted.volume)
    if (present !== undefined && present.store === store && isSame(present.arguments, wanted)) return
    const next = this.#takeNext(store, wanted)
    this.#begin(store, wanted, next)
    // The store ends the older of two streams by itself; until the new one is there the old one may go on.
    present?.close().catch((error: unknown) => {
      this.#options.log.error({ err: error }, 'a stream could not be ended')
    })
    // Last: a full disk may refuse it.
    await this.#save()
  }

  /** Follows another host as soon as that lets this one in, if it does. */
  followNext(store: StoreService, wanted: FollowArguments): void {
    const { volume } = wanted
    if (this.#isClosed) throw new StoreNotReadyError('the engine stops')
    this.#dropNext(volume)
    const abort = new AbortController()
    const isNext = (): boolean => !next.isElected
    const running = openFollow(store, wanted, abort.signal, isNext)
    const next: Next = { store, arguments: wanted, running, abort, isElected: false }
    this.#nexts.set(volume, next)
    next.running
      .then(async () => {
        if (this.#nexts.get(volume) === next) await this.follow(store, wanted)
        // It was followed there already.
        if (this.#nexts.get(volume) === next) this.#dropNext(volume)
      })
      .catch((error: unknown) => {
        if (this.#nexts.get(volume) === next) this.#nexts.delete(volume)
        this.#options.log.info(
          { volume, leader: wanted.leader, err: error },
          'who was about to lead is not followed',
        )
      })
  }

  /** @returns whether it was followed */
  async unfollow(volume: VolumeId): Promise<boolean> {
    this.#dropNext(volume)
    const follow = this.#follows.get(volume)
    if (follow === undefined) return false
    this.#follows.delete(volume)
    await Promise.all([follow.close(), this.#save()])
    return true
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const volume of [...this.#nexts.keys()]) this.#dropNext(volume)
    await Promise.all([...this.#follows.values()].map((follow) => follow.close()))
    await Promise.allSettled([this.#saving, this.#saveNext])
  }

  #begin(store: StoreService, follow: FollowArguments, opening?: Opening): void {
    const { log } = this.#options
    this.#follows.set(follow.volume, new Follow({ arguments: follow, store, opening, lost: this.#lost, log }))
  }

  /** The stream that is on its way to whom is followed now. One to another host is dropped. */
  #takeNext(store: StoreService, wanted: FollowArguments): Next | undefined {
    const next = this.#nexts.get(wanted.volume)
    if (next === undefined) return undefined
    this.#nexts.delete(wanted.volume)
    if (next.store === store && isSame(next.arguments, wanted)) {
      next.isElected = true
      store.followNow(wanted.volume)
      return next
    }
    discard(next)
    return undefined
  }

  #dropNext(volume: VolumeId): void {
    const next = this.#nexts.get(volume)
    if (next === undefined) return
    this.#nexts.delete(volume)
    discard(next)
  }

  /** Volumes that come to be followed together are written once. */
  #save(): Promise<void> {
    if (this.#saveNext !== undefined) return this.#saveNext
    const before = this.#saving ?? Promise.resolve()
    const next = before
      .catch(() => undefined)
      .then(() => {
        this.#saveNext = undefined
        this.#saving = next
        return writeFollows(this.#options.path, this.#stored())
      })
      .finally(() => {
        if (this.#saving === next) this.#saving = undefined
      })
    this.#saveNext = next
    return next
  }

  #stored(): StoredFollow[] {
    return [...this.#follows.values()].flatMap(({ arguments: follow, store }) => {
      const id = store.status.store
      const { volume, leader, address, key } = follow
      return id === undefined ? [] : [{ store: id, volume, leader, address, key }]
    })
  }
}

/** It may have been opened meanwhile. */
function discard({ running, abort }: Next): void {
  abort.abort()
  endLater(running)
}

function isSame(one: FollowArguments, other: FollowArguments): boolean {
  return one.leader === other.leader && one.address === other.address && one.key === other.key
}
