/** The volumes that this engine follows. It remembers them, so that an engine that starts alone goes on. */
import {
  type FollowArguments,
  type FollowStatus,
  StoreNotReadyError,
  type VolumeId,
} from '@cloudfs/interface'
import type { Logger } from 'pino'
import type { StoreService } from '../store-service.js'
import { Follow } from './follow.js'
import { readFollows, type StoredFollow, writeFollows } from './follows-file.js'

export interface FollowManagerOptions {
  /** The file that remembers. */
  readonly path: string
  readonly stores: readonly StoreService[]
  readonly log: Logger
}

export class FollowManager {
  readonly #options: FollowManagerOptions
  readonly #follows = new Map<VolumeId, Follow>()
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

  /** @throws {StoreNotReadyError} the engine stops: a stream begun now would keep the process for ever */
  follow(store: StoreService, wanted: FollowArguments): void {
    if (this.#isClosed) throw new StoreNotReadyError('the engine stops')
    const present = this.#follows.get(wanted.volume)
    if (present !== undefined && present.store === store && isSame(present.arguments, wanted)) return
    this.#begin(store, wanted)
    // The store ends the older of two streams by itself; until the new one is there the old one may go on.
    present?.close().catch((error: unknown) => {
      this.#options.log.error({ err: error }, 'a stream could not be ended')
    })
    // Last: a full disk may refuse it.
    this.#save()
  }

  /** @returns whether it was followed */
  async unfollow(volume: VolumeId): Promise<boolean> {
    const follow = this.#follows.get(volume)
    if (follow === undefined) return false
    this.#follows.delete(volume)
    this.#save()
    await follow.close()
    return true
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#follows.values()].map((follow) => follow.close()))
  }

  #begin(store: StoreService, follow: FollowArguments): void {
    this.#follows.set(follow.volume, new Follow({ arguments: follow, store, log: this.#options.log }))
  }

  #save(): void {
    const follows = [...this.#follows.values()].flatMap(({ arguments: follow, store }) => {
      const id = store.status.store
      const { volume, leader, address, key } = follow
      return id === undefined ? [] : [{ store: id, volume, leader, address, key }]
    })
    writeFollows(this.#options.path, follows)
  }
}

function isSame(one: FollowArguments, other: FollowArguments): boolean {
  return one.leader === other.leader && one.address === other.address && one.key === other.key
}
