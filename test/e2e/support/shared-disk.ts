/**
 * One disk, and clients of it at several hosts that read and write the same sectors at the same time. Everything they ask and
 * are told is kept, for each sector: what was acknowledged when, and what was under way. `judge` says whether one disk can have
 * answered so: nothing acknowledged is lost, nothing is read that was never written, and nothing is stale at any moment.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { contentOf, findFault, History, UNIT_BYTES, writeId, writesIn } from '@cloudfs/simulator'
import { expect } from 'vitest'
import { PATIENCE } from './cluster.js'
import { randomFrom } from './disk-oracle.js'
import { NbdClient, NbdGoneError } from './nbd-client.js'

/** Connections of each client, with one request each. */
const LANES = 4
/** Of one request: three blocks are touched at most. */
const SECTORS_MAX = 16
const RECONNECT_MS = 20
/** Between two requests of a lane: little has to be judged, and much CPU is left to whom it is about. */
const PAUSE_MS = 2

export class SharedDisk {
  readonly sectors: number
  readonly seed: number
  readonly history = new History()
  readonly #users: DiskUser[] = []
  #order = 0

  constructor(bytes: number, seed: number) {
    this.sectors = bytes / UNIT_BYTES
    this.seed = seed
  }

  /** A client at a socket, which goes on until all are stopped; when it is hung up it comes back. */
  use(socket: string): DiskUser {
    const user = new DiskUser(this, this.#users.length, socket)
    this.#users.push(user)
    return user
  }

  /** The next moment: of two requests it is known whether one ended before the other began. */
  now(): number {
    return ++this.#order
  }

  /** Power was cut: what nobody flushed may be gone. */
  loseUnflushed(): void {
    this.history.losses.push({ at: this.now() })
  }

  /** Lets all clients end what they have under way. @throws what was not answered as a client must be */
  async stop(): Promise<void> {
    await Promise.all(this.#users.map((user) => user.stop()))
  }

  /** What is in an image of the disk counts as what a client reads now. */
  see(image: string): void {
    const op = this.history.read(this.#users.length, 0, this.sectors, this.now())
    op.seen = writesIn(readFileSync(image).subarray(0, this.sectors * UNIT_BYTES), 0)
    op.ended = this.now()
  }

  /** @throws with the story of a block that no disk has */
  judge(): void {
    const fault = findFault(this.history)
    if (fault !== undefined) throw new Error([fault.what, ...fault.story].join('\n'))
  }
}

export class DiskUser {
  readonly #disk: SharedDisk
  readonly #number: number
  readonly #random: (bound: number) => number
  readonly #lanes: Promise<unknown>
  #isOver = false
  #writes = 0
  #answered = 0

  constructor(disk: SharedDisk, number: number, socket: string) {
    this.#disk = disk
    this.#number = number
    this.#random = randomFrom(disk.seed + 7919 * (number + 1))
    this.#lanes = Promise.all(Array.from({ length: LANES }, () => this.#live(socket)))
    this.#lanes.catch(() => undefined)
  }

  get answered(): number {
    return this.#answered
  }

  /** Waits until requests are answered that were made after this was asked. */
  async goesOn(count = 50): Promise<void> {
    const goal = this.#answered + LANES + count
    const isDone = expect.poll(() => this.#answered, PATIENCE).toBeGreaterThan(goal)
    await Promise.race([isDone, this.#lanes])
  }

  async stop(): Promise<void> {
    this.#isOver = true
    await this.#lanes
  }

  async #live(socket: string): Promise<void> {
    while (!this.#isOver) {
      let client: NbdClient | undefined
      try {
        client = await NbdClient.connect(socket)
        while (!this.#isOver) {
          await this.#ask(client)
          this.#answered++
          await delay(PAUSE_MS)
        }
      } catch (error) {
        const isAway = error instanceof NbdGoneError || (error as NodeJS.ErrnoException).syscall === 'connect'
        if (!isAway) throw error
        await delay(RECONNECT_MS)
      } finally {
        client?.close()
      }
    }
  }

  /** A request without an answer stays in the history without an end: it may have happened, or may yet. */
  async #ask(client: NbdClient): Promise<void> {
    const { history, sectors } = this.#disk
    const first = this.#random(sectors)
    const count = Math.min(1 + this.#random(SECTORS_MAX), sectors - first)
    const kind = this.#random(100)
    const begun = this.#disk.now()
    if (kind < 2) {
      await client.flush()
      history.flush(begun, this.#disk.now())
    } else if (kind < 40) {
      const op = history.read(this.#number, first, count, begun)
      op.seen = writesIn(await client.read(first * UNIT_BYTES, count * UNIT_BYTES), first)
      op.ended = this.#disk.now()
    } else {
      const isZero = kind < 44
      const isFua = this.#random(16) === 0
      const value = isZero ? 0 : writeId(this.#number, ++this.#writes)
      const op = history.write(this.#number, first, count, value, begun)
      if (isZero) await client.writeZeroes(first * UNIT_BYTES, count * UNIT_BYTES, isFua)
      else await client.write(first * UNIT_BYTES, contentOf(value, first, count), isFua)
      op.ended = this.#disk.now()
      if (isFua) op.durable = op.ended
    }
  }
}
