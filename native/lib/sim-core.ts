/**
 * The shipped core, driven by JavaScript: a simulator gives it disks, clients and time of its own. Nothing happens in a
 * `SimCore` but what its methods are told; effects of a turn stay in flight until `complete`, in any order.
 */
import type {
  CoreCommands,
  CoreEvent,
  CoreParams,
  CoreVerb,
  StoreIdentity,
  VolumeId,
} from '@cloudfs/interface'
import { addon, type RawSimCore } from './addon.js'

/** `physical` of the superblock region, 8192 bytes. */
export const SUPERBLOCK_REGION = 0xffffffff

/** Something the core asks of its disk. `physical` is a segment's place, or `SUPERBLOCK_REGION`. */
export type SimIo = SimWrite | SimSync | SimRead | SimPrepare

/** `bytes` go to (`physical`, `offset`); complete when a read would see them. They need not last before a sync. */
export interface SimWrite {
  readonly kind: 'write'
  readonly id: number
  readonly physical: number
  readonly offset: number
  readonly bytes: Buffer
}

/** What was written to these places by writes completed before the turn that asks this lasts, once complete. */
export interface SimSync {
  readonly kind: 'sync'
  readonly id: number
  readonly physicals: readonly number[]
}

/** `length` bytes from (`physical`, `offset`); `complete` gives them. */
export interface SimRead {
  readonly kind: 'read'
  readonly id: number
  readonly physical: number
  readonly offset: number
  readonly length: number
}

/** The segment exists at full size, written (zeros where it was not yet) and synced. */
export interface SimPrepare {
  readonly kind: 'prepare'
  readonly id: number
  readonly physical: number
}

/** A piece of read data or block status; pieces follow each other without gaps. */
export interface SimPiece {
  readonly bytes: number
  /** Reads as zeros and is not stored. */
  readonly hole: boolean
  /** Absent in holes; empty in a block status. */
  readonly data?: Buffer
}

/** The answer to a `SimOp`. */
export interface SimReply {
  readonly client: number
  readonly request: number
  /** 0, or a Linux errno; -1: there is no answer, the client's session ends. */
  readonly error: number
  readonly pieces: readonly SimPiece[]
}

/** The answer to a command. */
export interface SimAnswer {
  readonly id: number
  /** Empty = done. */
  readonly errorCode: string
  readonly message: string
  /** What the command gives (docs/core.md), parsed; undefined after an error. */
  readonly result: unknown
  readonly payload: Buffer
}

/** All that came out of a turn. `io` is in the order in which it was decided. */
export interface SimEffects {
  readonly io: readonly SimIo[]
  readonly replies: readonly SimReply[]
  readonly events: readonly CoreEvent[]
  readonly answers: readonly SimAnswer[]
  /** Bytes for streams, behind those given before; `streamSent` tells what was taken of them. */
  readonly sends: readonly { readonly stream: number; readonly bytes: Buffer }[]
  /** Streams to end once what was given before has gone; each still ends with `streamClosed`. */
  readonly closes: readonly number[]
}

/** A client's request. A write's length is its payload's. */
export interface SimOp {
  readonly kind: 'read' | 'write' | 'flush' | 'trim' | 'write-zeroes' | 'cache' | 'block-status'
  readonly client?: number
  /** Unique among the client's requests in flight. */
  readonly request: number
  /** Handle of an export. */
  readonly target: number
  readonly offset?: number | bigint
  readonly length?: number | bigint
  readonly payload?: Uint8Array
  readonly fua?: boolean
  readonly noHole?: boolean
  readonly fastZero?: boolean
  /** Of a session's export: counts its changing requests. */
  readonly sequence?: number | bigint
}

/** What a client learns when it opens an export. */
export interface SimExport {
  readonly handle: number
  readonly sizeBytes: bigint
  readonly readOnly: boolean
  readonly name: string
  readonly description: string
  /** A write whose whole blocks are at most so many bytes becomes one record. */
  readonly recordBytesMax: number
}

/** Bugs that a simulation has to find (`Plant` in native/src/core/base/parameters.h). */
export const plants = [
  'ack-before-majority',
  'flush-without-sync',
  'freed-before-commit',
  'torn-tail-accepted',
  'trim-lost-in-catch-up',
  'commit-before-own-append',
  'own-tail-acknowledged',
  'lease-ignored',
  'boot-ignored',
  'retried-request-applied-twice',
  'old-view-commit',
  'unsynced-promise',
  'stale-replica-set',
  'repair-unchecked',
  'witness-counted-as-data',
  'heir-leads-at-first-word',
] as const
export type Plant = (typeof plants)[number]

export interface SimCoreParams extends CoreParams {
  readonly plant?: Plant
}

/** Times are nanoseconds of the simulation's own clock; they never go back. */
export class SimCore {
  readonly #raw: RawSimCore

  constructor(params: SimCoreParams = {}) {
    this.#raw = new addon.SimCore(params)
  }

  /** Writes an empty store; 'ready' or 'store-failed' tells when that is done. */
  format(identity: StoreIdentity, nowNs: number | bigint): void {
    this.#raw.format(identity, nowNs)
  }

  /** Recovers; 'ready' or 'store-failed' tells when that is done. */
  start(nowNs: number | bigint): void {
    this.#raw.start(nowNs)
  }

  /** Ends cleanly; 'stopped' tells when that is done. */
  stop(): void {
    this.#raw.stop()
  }

  /**
   * An effect is done. `error` is 0 or an errno. A read gets its `bytes`; fewer than asked for are filled up with zeros.
   *
   * @throws ERR_ARGUMENT no such effect is in flight
   */
  complete(id: number, error = 0, bytes?: Uint8Array): void {
    this.#raw.complete(id, error, bytes)
  }

  submit(op: SimOp): void {
    this.#raw.submit(op)
  }

  /** `id` comes back in the answer. */
  command<V extends CoreVerb>(
    id: number,
    verb: V,
    args: CoreCommands[V]['args'],
    payload?: Uint8Array,
  ): void {
    this.#raw.command(id, verb, JSON.stringify(args), payload)
  }

  /** Ends a turn: everything told since the last one is acted on. */
  turn(nowNs: number | bigint): SimEffects {
    const raw = this.#raw.turn(nowNs)
    return {
      io: raw.io as SimIo[],
      replies: raw.replies as SimReply[],
      events: raw.events.map(({ name, detail }) => ({ name, detail: parsed(detail) ?? {} }) as CoreEvent),
      sends: raw.sends,
      closes: raw.closes,
      answers: raw.answers.map((answer) => ({ ...answer, result: parsed(answer.result) })),
    }
  }

  /** When the core wants a turn though nothing happened; undefined = not by itself. */
  nextDeadlineNs(): bigint | undefined {
    return this.#raw.nextDeadlineNs()
  }

  /** Of the store, once `format` or the superblock that `start` reads has told it. */
  segmentLog2(): number {
    return this.#raw.segmentLog2()
  }

  /**
   * By volume id, name, `name@snapshot` or `id@snapshot`; undefined: see `openRefusal`. `session` (16 bytes): of a host that
   * has the volume attached.
   */
  openExport(name: string, session?: Uint8Array): SimExport | undefined {
    return this.#raw.openExport(name, session) as SimExport | undefined
  }

  listExports(): SimExport[] {
    return this.#raw.listExports() as SimExport[]
  }

  closeExport(handle: number): void {
    this.#raw.closeExport(handle)
  }

  /**
   * A connection to another engine stands; from now on its bytes are the core's. `leader`: the other side follows.
   *
   * @throws a code of docs/errors.md if the core will not have it
   */
  openStream(role: 'leader' | 'follower', volume: VolumeId): number {
    return this.#raw.openStream(role, volume)
  }

  /** @returns how many of the bytes were taken; the rest is to be given again after a turn */
  streamReceive(stream: number, bytes: Uint8Array): number {
    return this.#raw.streamReceive(stream, bytes)
  }

  /** The other side, or a socket on the way, took this many more of the bytes sent. */
  streamSent(stream: number, bytes: number): void {
    this.#raw.streamSent(stream, bytes)
  }

  /** The connection is gone. */
  streamClosed(stream: number): void {
    this.#raw.streamClosed(stream)
  }

  /** Why `openExport` has just declined. */
  openRefusal(name: string, session?: Uint8Array): string {
    return this.#raw.openRefusal(name, session)
  }

  /** The client of a session's export has all answers to requests up to `sequence` that were refused. */
  sessionSeen(handle: number, sequence: number | bigint): void {
    this.#raw.sessionSeen(handle, sequence)
  }

  /** Gives its memory back; nothing else may be asked of it any more. */
  close(): void {
    this.#raw.close()
  }
}

function parsed(json: string): unknown {
  return json === '' ? undefined : JSON.parse(json)
}
