/**
 * Who has a volume attached, kept by the volume's primary as a local item in its store: one host for writing, or several
 * that all share. What is taken is synced before anybody serves it.
 */
import { LOCAL_KINDS } from '@cloudfs/format'
import { bytesToHex, hexToBytes, type HostId, VolumeAttachedError, type VolumeId } from '@cloudfs/interface'
import { z } from 'zod'
import type { EngineSupervisor } from './engine-supervisor.js'
import { NotAttachedError, TooManyHoldersError } from './errors.js'
import { Holder } from './peer-requests.js'

const ATTACHMENT_KIND = LOCAL_KINDS.indexOf('attachment')
/** What a local item holds. */
const ITEM_BYTES_MAX = 4096

/** As it stands in the store; no bytes: not attached. */
const remembered = z.object({ holders: z.array(Holder) })

export class HolderTable {
  readonly #engine: EngineSupervisor
  /** Of the volumes that were read; this process alone changes what is in the store. */
  readonly #holders = new Map<VolumeId, readonly Holder[]>()
  /** Changes of a volume come one after another. */
  readonly #turns = new Map<VolumeId, Promise<void>>()

  constructor(engine: EngineSupervisor) {
    this.#engine = engine
  }

  of(volume: VolumeId): readonly Holder[] {
    return this.#holders.get(volume) ?? []
  }

  /** What `host` has attached. */
  at(host: HostId): { readonly volume: VolumeId; readonly holder: Holder }[] {
    return [...this.#holders].flatMap(([volume, holders]) =>
      holders.filter((holder) => holder.host === host).map((holder) => ({ volume, holder })),
    )
  }

  /** Reads what the store remembers of a volume whose primary is here; `of` and `at` know it from then on. */
  async load(volume: VolumeId): Promise<void> {
    await this.#inTurn(volume, () => Promise.resolve())
  }

  /**
   * Gives the volume to a host; one that has it already keeps it.
   *
   * @throws {VolumeAttachedError} another host has it, or this one otherwise, and one of the two does not share
   */
  take(volume: VolumeId, holder: Holder): Promise<void> {
    return this.#inTurn(volume, async () => {
      const present = this.of(volume)
      for (const each of present) {
        const isSame = each.host === holder.host
        if (isSame ? each.isShared === holder.isShared : each.isShared && holder.isShared) continue
        const how = each.isShared ? 'shared' : 'not shared'
        throw new VolumeAttachedError(`the volume is attached at host ${each.host}, ${how}`, {
          volume,
          holder: each.host,
        })
      }
      await this.#put(volume, [...present.filter(({ host }) => host !== holder.host), holder])
    })
  }

  /** @throws {NotAttachedError} the host does not have it */
  release(volume: VolumeId, host: HostId): Promise<void> {
    return this.#inTurn(volume, async () => {
      const present = this.of(volume)
      if (!present.some((each) => each.host === host)) {
        throw new NotAttachedError(`volume ${volume} is not attached at host ${host}`, { volume, host })
      }
      await this.#put(
        volume,
        present.filter((each) => each.host !== host),
      )
    })
  }

  /** For what must not run while somebody attaches. @throws {VolumeAttachedError} somebody has the volume */
  whileFree<Result>(volume: VolumeId, act: () => Promise<Result>): Promise<Result> {
    return this.#inTurn(volume, () => {
      const [holder] = this.of(volume)
      if (holder === undefined) return act()
      throw new VolumeAttachedError(`the volume is attached at host ${holder.host}`, {
        volume,
        holder: holder.host,
      })
    })
  }

  /** The volume is gone. */
  forget(volume: VolumeId): void {
    this.#holders.delete(volume)
  }

  async #put(volume: VolumeId, holders: readonly Holder[]): Promise<void> {
    const bytes = holders.length === 0 ? Buffer.alloc(0) : Buffer.from(JSON.stringify({ holders }))
    if (bytes.length > ITEM_BYTES_MAX) {
      throw new TooManyHoldersError(`the volume is attached at ${String(holders.length - 1)} hosts already`, {
        volume,
      })
    }
    await this.#engine.call('put-local', { volume, kind: ATTACHMENT_KIND, bytes: bytesToHex(bytes) })
    this.#holders.set(volume, holders)
  }

  async #read(volume: VolumeId): Promise<void> {
    const { bytes } = await this.#engine.result('get-local', { volume, kind: ATTACHMENT_KIND })
    const isNone = bytes === null || bytes === ''
    const text = isNone ? '{"holders":[]}' : Buffer.from(hexToBytes(bytes)).toString('utf8')
    this.#holders.set(volume, remembered.parse(JSON.parse(text)).holders)
  }

  async #inTurn<Result>(volume: VolumeId, act: () => Promise<Result>): Promise<Result> {
    const before = this.#turns.get(volume) ?? Promise.resolve()
    const result = before.then(async () => {
      if (!this.#holders.has(volume)) await this.#read(volume)
      return act()
    })
    const turn = result.then(
      () => undefined,
      () => undefined,
    )
    this.#turns.set(volume, turn)
    try {
      return await result
    } finally {
      if (this.#turns.get(volume) === turn) this.#turns.delete(volume)
    }
  }
}
