/**
 * A disk at work: effects of a core take time and complete in any order, and some go wrong. What is on the disk is
 * `SimulatedDisk`'s.
 */
import type { SimIo } from '@cloudfs/native'
import type { Coverage } from './coverage.js'
import { SECTOR_BYTES, SimulatedDisk } from './disk.js'
import { below, chance, type Random, spread } from './random.js'
import { MICROSECOND, MILLISECOND, type Planned, type Schedule } from './schedule.js'

const EIO = 5
const ENOSPC = 28

/** An effect that is done: what `SimCore.complete` takes. */
interface Completion {
  readonly id: number
  readonly error: number
  readonly bytes?: Buffer
}

interface Flight {
  readonly io: SimIo
  /** Of a sync: makes what it covers last. */
  readonly keep?: () => void
  readonly done: Planned
}

interface DiskQueueParts {
  readonly schedule: Schedule
  readonly random: Random
  readonly coverage: Coverage
  readonly onDone: (completion: Completion) => void
}

export class DiskQueue {
  disk: SimulatedDisk
  /** How much longer everything takes. */
  slowness = 1
  /** No further segment can be made. */
  isFull = false
  /** The next sync fails, and the next write: what was not synced may be gone then. */
  failsNextSync = false
  failsNextWrite = false
  /** The next write goes elsewhere. */
  misdirectsNextWrite = false
  /** An effect failed since the process started. */
  hasFailed = false
  /** What was not synced may be gone since the process started. */
  hasLost = false
  /** Blocks of it rotted, others have them good. What nobody can read, and no scrub, may stay bad until it is freed. */
  hasRotted = false
  /** And blocks that somebody can read may be bad still. */
  isRotten = false
  readonly #parts: DiskQueueParts
  readonly #flights = new Map<number, Flight>()

  constructor(parts: DiskQueueParts, segmentBytes: number) {
    this.#parts = parts
    this.disk = new SimulatedDisk(segmentBytes)
  }

  /** A process starts. */
  begin(): void {
    this.hasFailed = this.hasLost = false
  }

  submit(io: SimIo): void {
    const done = this.#parts.schedule.after(this.#takes(io), () => {
      this.#finish(io.id)
    })
    const flight = io.kind === 'sync' ? { io, done, keep: this.disk.beginSync(io.physicals) } : { io, done }
    this.#flights.set(io.id, flight)
  }

  /** The process is gone: of what was on its way to the page cache any beginning is there. */
  kill(): void {
    const { random } = this.#parts
    for (const { io, keep } of this.#drop()) {
      if (keep !== undefined && chance(random, 0.5)) keep()
      if (io.kind !== 'write' || chance(random, 0.3)) continue
      const share = chance(random, 0.5) ? 1 : random()
      const length = Math.floor((io.bytes.length * share) / SECTOR_BYTES) * SECTOR_BYTES
      if (length > 0) this.disk.store({ ...io, bytes: io.bytes.subarray(0, length) })
    }
  }

  /** What was not synced is there in any part, or not. */
  cutPower(): void {
    const { random } = this.#parts
    for (const { io } of this.#drop()) if (io.kind === 'write' && chance(random, 0.5)) this.disk.store(io)
    this.disk = this.disk.cutPower(random)
  }

  #drop(): Flight[] {
    const flights = [...this.#flights.values()]
    for (const { done } of flights) done.cancel()
    this.#flights.clear()
    this.failsNextSync = this.failsNextWrite = this.misdirectsNextWrite = false
    return flights
  }

  #takes({ kind }: SimIo): number {
    const { random } = this.#parts
    const ns =
      kind === 'write'
        ? spread(random, 8 * MICROSECOND, 300 * MICROSECOND)
        : kind === 'read'
          ? spread(random, 5 * MICROSECOND, 400 * MICROSECOND)
          : spread(random, 200 * MICROSECOND, 8 * MILLISECOND)
    return Math.floor(ns * this.slowness)
  }

  #finish(id: number): void {
    const flight = this.#flights.get(id)
    if (flight === undefined) return
    this.#flights.delete(id)
    const { io, keep } = flight
    let error = 0
    let bytes: Buffer | undefined
    switch (io.kind) {
      case 'write':
        if (this.failsNextWrite) {
          error = this.#fail('fault:failed-write')
          this.failsNextWrite = false
        } else if (this.misdirectsNextWrite) this.#misdirect(io.bytes)
        else this.disk.store(io)
        break
      case 'sync':
        if (this.failsNextSync) {
          error = this.#fail('fault:failed-sync')
          this.failsNextSync = false
          // Pages that could not be written count as clean from then on: whoever asks again is told that all is well.
          this.disk = this.disk.cutPower(this.#parts.random)
          this.hasLost = true
        } else keep?.()
        break
      case 'read':
        bytes = Buffer.from(this.disk.read(io.physical, io.offset, io.length))
        break
      case 'prepare':
        if (this.isFull && !this.disk.isPrepared(io.physical)) {
          this.#parts.coverage.count('fault:disk-full')
          error = ENOSPC
        } else this.disk.prepare(io.physical)
    }
    this.#parts.onDone(bytes === undefined ? { id, error } : { id, error, bytes })
  }

  #fail(what: string): number {
    this.#parts.coverage.count(what)
    this.hasFailed = true
    return EIO
  }

  /** The bytes land somewhere else in the store, whatever is there. */
  #misdirect(bytes: Buffer): void {
    const { random, coverage } = this.#parts
    coverage.count('fault:misdirected-write')
    this.misdirectsNextWrite = false
    const place = this.disk.anyPlace(random)
    const room = this.disk.bytesOf(place.physical) - bytes.length
    if (room <= 0) return
    const offset = below(random, Math.floor(room / SECTOR_BYTES) + 1) * SECTOR_BYTES
    this.disk.store({ kind: 'write', id: 0, physical: place.physical, offset, bytes })
  }
}
