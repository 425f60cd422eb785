/**
 * Who has a volume attached, kept by the volume's primary as a local item in its store: one host for writing, or several
 * that all share. What is taken is synced before anybody serves it. What an earlier primary kept is not here: who comes to
 * lead asks the hosts that are there.
 */
import { LOCAL_KINDS } from '@cloudfs/format'
import {
  bytesToHex,
  compareEpochs,
  type Epoch,
  EPOCH_COUNTER_MAX,
  hexToBytes,
  HostId,
  VolumeAttachedError,
  type VolumeId,
} from '@cloudfs/interface'
import { z } from 'zod'
import type { EngineSupervisor } from './engine-supervisor.js'
import { NotAttachedError, TooManyHoldersError } from './errors.js'
import { Holder } from './peer-requests.js'

const ATTACHMENT_KIND = LOCAL_KINDS.indexOf('attachment')
/** What a local item holds. */
const ITEM_BYTES_MAX = 4096

/** As it stands in the store, of the epoch in which this host led then; no bytes: none. */
const remembered = z.object({
  epoch: z.object({
    counter: z.int().min(0).max(EPOCH_COUNTER_MAX),
    host: z.string().transform((text) => HostId.parse(text)),
  }),
  holders: z.array(Holder),
})
type Remembered = z.output<typeof remembered>

/** A host that says that it has the volume, by the word of the primary of that epoch. */
export interface Claim {
  readonly holder: Holder
  readonly epoch: Epoch
}

interface HolderTableOptions {
  readonly engine: Pick<EngineSupervisor, 'result' | 'call'>
  /** Of a volume that this host leads: in which epoch. */
  readonly epochOf: (volume: VolumeId) => Promise<Epoch>
  /** What the hosts that are there say. */
  readonly askHosts: (volume: VolumeId) => Promise<readonly Claim[]>
}

export class HolderTable {
  readonly #options: HolderTableOptions
  /** Of the volumes that this host leads and that were read; this process alone changes what is in the store. */
  readonly #known = new Map<VolumeId, Remembered>()
  /** Changes of a volume come one after another. */
  readonly #turns = new Map<VolumeId, Promise<void>>()

  constructor(options: HolderTableOptions) {
    this.#options = options
  }

  of(volume: VolumeId): readonly Holder[] {
    return this.#known.get(volume)?.holders ?? []
  }

  /** Learns who has a volume that this host leads; `of` knows it from then on. */
  async load(volume: VolumeId): Promise<void> {
    await this.#inTurn(volume, () => Promise.resolve())
  }

  /**
   * Gives the volume to a host; one that has it already keeps it.
   *
   * @param since - of the primary that gave it the volume before, if it says that it has it already
   * @returns the epoch in which this host gives it
   * @throws {VolumeAttachedError} another host has it, or this one otherwise, and one of the two does not share
   * @throws {NotAttachedError} it had it, and it was given up since
   */
  take(volume: VolumeId, holder: Holder, since?: Epoch): Promise<Epoch> {
    return this.#inTurn(volume, async ({ epoch, holders: present }) => {
      const own = present.find(({ host }) => host === holder.host)
      if (own === undefined && since !== undefined && compareEpochs(since, epoch) === 0) {
        throw notAttached(volume, holder.host)
      }
      for (const each of present) {
        const isSame = each.host === holder.host
        if (isSame ? each.isShared === holder.isShared : each.isShared && holder.isShared) continue
        const how = each.isShared ? 'shared' : 'not shared'
        throw new VolumeAttachedError(`the volume is attached at host ${each.host}, ${how}`, {
          volume,
          holder: each.host,
        })
      }
      if (own?.socket !== holder.socket) {
        await this.#put(volume, epoch, [...present.filter(({ host }) => host !== holder.host), holder])
      }
      return epoch
    })
  }

  /** @throws {NotAttachedError} the host does not have it */
  release(volume: VolumeId, host: HostId): Promise<void> {
    return this.#inTurn(volume, async ({ epoch, holders: present }) => {
      if (!present.some((each) => each.host === host)) throw notAttached(volume, host)
      await this.#put(
        volume,
        epoch,
        present.filter((each) => each.host !== host),
      )
    })
  }

  /** For what must not run while somebody attaches. @throws {VolumeAttachedError} somebody has the volume */
  whileFree<Result>(volume: VolumeId, act: () => Promise<Result>): Promise<Result> {
    return this.#inTurn(volume, ({ holders: [holder] }) => {
      if (holder === undefined) return act()
      throw new VolumeAttachedError(`the volume is attached at host ${holder.host}`, {
        volume,
        holder: holder.host,
      })
    })
  }

  /** The volume is gone, or led by another host. */
  forget(volume: VolumeId): void {
    this.#known.delete(volume)
  }

  /** Another engine is there: what this host led it may lead no more. */
  forgetAll(): void {
    this.#known.clear()
  }

  async #put(volume: VolumeId, epoch: Epoch, holders: readonly Holder[]): Promise<void> {
    const known = { epoch, holders: [...holders] }
    const bytes = Buffer.from(JSON.stringify(known))
    if (bytes.length > ITEM_BYTES_MAX) {
      throw new TooManyHoldersError(`the volume is attached at ${String(holders.length - 1)} hosts already`, {
        volume,
      })
    }
    await this.#options.engine.call('put-local', { volume, kind: ATTACHMENT_KIND, bytes: bytesToHex(bytes) })
    this.#known.set(volume, known)
  }

  async #learn(volume: VolumeId): Promise<Remembered> {
    const { engine, epochOf, askHosts } = this.#options
    const epoch = await epochOf(volume)
    const { bytes } = await engine.result('get-local', { volume, kind: ATTACHMENT_KIND })
    const stored = bytes === null || bytes === '' ? undefined : parse(bytes)
    if (stored !== undefined && compareEpochs(stored.epoch, epoch) === 0) {
      this.#known.set(volume, stored)
      return stored
    }
    const learned = { epoch, holders: holdersOf(await askHosts(volume)) }
    const isNews = learned.holders.length > 0 || (stored?.holders.length ?? 0) > 0
    if (isNews) await this.#put(volume, epoch, learned.holders)
    else this.#known.set(volume, learned)
    return learned
  }

  async #inTurn<Result>(
    volume: VolumeId,
    act: (known: Remembered) => Result | Promise<Result>,
  ): Promise<Result> {
    const before = this.#turns.get(volume) ?? Promise.resolve()
    const result = before.then(async () => act(this.#known.get(volume) ?? (await this.#learn(volume))))
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

/** Of hosts that cannot all have it those that had it last: the others are refused when they ask for it again. */
function holdersOf(claims: readonly Claim[]): Holder[] {
  const holders: Holder[] = []
  for (const { holder } of [...claims].sort((a, b) => compareEpochs(b.epoch, a.epoch))) {
    if (holders.every((each) => each.isShared && holder.isShared)) holders.push(holder)
  }
  return holders
}

function notAttached(volume: VolumeId, host: string): NotAttachedError {
  return new NotAttachedError(`volume ${volume} is not attached at host ${host}`, { volume, host })
}

function parse(bytes: string): Remembered | undefined {
  return remembered.safeParse(JSON.parse(Buffer.from(hexToBytes(bytes)).toString('utf8'))).data
}
