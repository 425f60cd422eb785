/**
 * Connections between cores: bytes in order, in pieces of any size, at most a window of them on their way; they end when
 * either side says so, when a host goes, or for no reason. Whoever follows a volume tries again, as its engine does.
 */
import type { VolumeId } from '@cloudfs/interface'
import type { SimEffects } from '@cloudfs/native'
import type { Coverage } from './coverage.js'
import type { Host } from './host.js'
import type { Log } from './log.js'
import type { Network, Pipe } from './network.js'
import { below, chance, type Random, spread } from './random.js'
import { MILLISECOND, type Schedule } from './schedule.js'

/** Bytes that the sockets of both sides hold. */
const WINDOW_BYTES = 256 << 10
/** Until the other side of a connection learns that a host has no power any more. */
const SILENCE_NS_MAX = 2_000 * MILLISECOND
const RETRY_NS_MIN = 50 * MILLISECOND
const RETRY_NS_MAX = 1_000 * MILLISECOND

/** Frames of docs/wire-protocol.md, by type. */
const frameNames: Readonly<Record<number, string>> = {
  1: 'hello',
  2: 'runs',
  3: 'commit',
  4: 'ack',
  5: 'fetch',
  6: 'refuse',
  7: 'compact',
  8: 'blocks',
  9: 'compacted',
  10: 'ping',
  11: 'want-blocks',
  12: 'lease-ask',
  13: 'lease-grant',
  14: 'block-ask',
  15: 'block-answer',
  16: 'hand',
}
const FRAME_HEAD_BYTES = 40

interface End {
  readonly host: Host
  readonly life: number
  readonly pipe: Pipe<Buffer | 'end'>
  /** The core's name for it, once it is open there. */
  stream: number | undefined
  /** From the core, not taken by the socket yet. */
  unsent: Buffer[]
  onTheWayBytes: number
  received: Buffer[]
  isEnding: boolean
  isClosed: boolean
}

interface Connection {
  readonly volume: VolumeId
  /** One side has: the other learns it when it sends. */
  isGivenUp: boolean
  readonly leader: End
  readonly follower: End
}

/** A volume that a host follows, from now on. */
interface Follow {
  readonly volume: VolumeId
  leader: number
  connection: Connection | undefined
  retryNs: number
  isTrying: boolean
  /** Why this host ended the last stream, if it did. */
  refusal: string | undefined
}

interface StreamsParts {
  readonly schedule: Schedule
  readonly random: Random
  readonly coverage: Coverage
  readonly log: Log
  readonly network: Network
  readonly hosts: readonly Host[]
  readonly onFrame: (frame: SentFrame) => void
  /** A host ends a stream, and says why. */
  readonly onRefusal: (host: Host, volume: VolumeId, code: string) => void
}

/** What a core sends to another: one frame at a time. */
export interface SentFrame {
  readonly host: Host
  readonly volume: VolumeId
  readonly isOfLeader: boolean
  readonly name: string
  readonly flags: number
  /** Of its sender. */
  readonly epoch: string
  readonly payload: Buffer
}

export function epochName({ counter, host }: { counter: number; host: string }): string {
  return `${String(counter)}.${host.slice(0, 8)}`
}

export class Streams {
  readonly #parts: StreamsParts
  readonly #ends = new Map<Host, Map<number, { end: End; connection: Connection }>>()
  readonly #follows = new Map<Host, Map<VolumeId, Follow>>()

  constructor(parts: StreamsParts) {
    this.#parts = parts
    for (const host of parts.hosts) {
      this.#ends.set(host, new Map())
      this.#follows.set(host, new Map())
    }
  }

  /** Whom a host's engine follows. */
  leaderOf(host: Host, volume: VolumeId): number | undefined {
    return this.#followsOf(host).get(volume)?.leader
  }

  /** Why a host's engine does not follow whom it is to follow, as far as it says so itself. */
  refusalOf(host: Host, volume: VolumeId): string | undefined {
    return this.#followsOf(host).get(volume)?.refusal
  }

  /** A host's engine keeps a stream open from `leader`, from now on and after restarts. */
  follow(host: Host, volume: VolumeId, leader: number): void {
    const follows = this.#followsOf(host)
    const known = follows.get(volume)
    if (known?.leader === leader) return
    if (known !== undefined) {
      known.leader = leader
      known.refusal = undefined
      known.retryNs = RETRY_NS_MIN
      if (known.connection !== undefined) this.#cut(known.connection)
    }
    const follow: Follow = known ?? {
      volume,
      leader,
      connection: undefined,
      retryNs: RETRY_NS_MIN,
      isTrying: false,
      refusal: undefined,
    }
    follows.set(volume, follow)
    this.#tryLater(host, follow, 0)
  }

  unfollow(host: Host, volume: VolumeId): void {
    const follow = this.#followsOf(host).get(volume)
    this.#followsOf(host).delete(volume)
    if (follow?.connection !== undefined) this.#cut(follow.connection)
  }

  /** The engine of a host runs again, and knows what it followed. */
  onReady(host: Host): void {
    for (const follow of this.#followsOf(host).values()) {
      follow.retryNs = RETRY_NS_MIN
      this.#tryLater(host, follow, 0)
    }
  }

  onDown(host: Host, isSilent: boolean): void {
    const { random, schedule } = this.#parts
    for (const { end, connection } of [...this.#endsOf(host).values()]) {
      end.isClosed = true
      const other = end === connection.leader ? connection.follower : connection.leader
      // What the kernel had taken may still arrive.
      if (isSilent || chance(random, 0.5)) end.pipe.close()
      other.pipe.close()
      const silenceNs = isSilent ? random() * SILENCE_NS_MAX : MILLISECOND + random() * 4 * MILLISECOND
      schedule.after(silenceNs, () => {
        end.pipe.close()
        this.#close(other, connection)
      })
    }
    this.#endsOf(host).clear()
    for (const follow of this.#followsOf(host).values()) follow.connection = undefined
  }

  /** Breaks a connection of a host, if it has one. @returns whether it had */
  breakOne(host: Host): boolean {
    const found = [...this.#endsOf(host).values()]
    if (found.length === 0) return false
    this.#cut((found[below(this.#parts.random, found.length)] as { connection: Connection }).connection)
    return true
  }

  onSends(host: Host, sends: SimEffects['sends']): void {
    const ends = this.#endsOf(host)
    for (const { stream, bytes } of sends) {
      const found = ends.get(stream)
      if (found === undefined) continue
      const frame = frameNames[bytes[4] ?? 0] ?? 'unknown'
      this.#parts.coverage.count(`protocol:${frame}`)
      this.#parts.onFrame({
        host,
        volume: found.connection.volume,
        isOfLeader: found.end === found.connection.leader,
        name: frame,
        flags: bytes[5] ?? 0,
        epoch: epochName({ counter: Number(bytes.readBigUInt64LE(8)), host: bytes.toString('hex', 16, 36) }),
        payload: bytes.subarray(FRAME_HEAD_BYTES),
      })
      if (frame === 'refuse') this.#noteRefusal(found.end, found.connection, bytes)
      found.end.unsent.push(bytes)
      this.#take(found.end)
    }
  }

  onCloses(host: Host, streams: readonly number[]): void {
    for (const stream of streams) {
      const found = this.#endsOf(host).get(stream)
      if (found === undefined) continue
      found.end.isEnding = true
      this.#take(found.end)
    }
  }

  /** Hands to the core what has arrived, as far as it takes it. @returns whether it took any */
  onTurn(host: Host): boolean {
    let isAny = false
    for (const { end, connection } of [...this.#endsOf(host).values()]) {
      const other = end === connection.leader ? connection.follower : connection.leader
      while (end.received.length > 0 && end.stream !== undefined) {
        const head = end.received[0] as Buffer
        const taken = host.core?.streamReceive(end.stream, head) ?? 0
        if (taken > 0) {
          host.steps++
          isAny = true
        }
        if (taken === head.length) end.received.shift()
        else end.received[0] = head.subarray(taken)
        other.onTheWayBytes -= taken
        if (taken > 0) this.#takeLater(other)
        if (taken < head.length) break
      }
    }
    return isAny
  }

  #noteRefusal(end: End, { follower, volume }: Connection, bytes: Buffer): void {
    const { host } = end
    const codeBytes = bytes[FRAME_HEAD_BYTES] ?? 0
    const code = bytes.toString('latin1', FRAME_HEAD_BYTES + 1, FRAME_HEAD_BYTES + 1 + codeBytes)
    this.#parts.coverage.count(`protocol:refuse ${code}`)
    this.#parts.log.story(
      host.name,
      `refuses a stream: ${code} ${bytes.toString('utf8', FRAME_HEAD_BYTES + 1 + codeBytes)}`,
    )
    this.#parts.onRefusal(host, volume, code)
    const follow = this.#followsOf(host).get(volume)
    if (end === follower && follow !== undefined) follow.refusal = code
  }

  // --- Bytes -----------------------------------------------------------------------------------------------------------

  #takeLater(end: End): void {
    if (end.unsent.length === 0 && !end.isEnding) return
    this.#parts.schedule.after(0, () => {
      this.#take(end)
    })
  }

  /** The socket takes what there is room for. */
  #take(end: End): void {
    if (end.isClosed) return
    const { random } = this.#parts
    while (end.unsent.length > 0 && end.onTheWayBytes < WINDOW_BYTES) {
      const head = end.unsent[0] as Buffer
      const isSplit = head.length > 1 && chance(random, 0.2)
      const taken = Math.min(
        isSplit ? 1 + below(random, head.length - 1) : head.length,
        WINDOW_BYTES - end.onTheWayBytes,
      )
      if (taken === head.length) end.unsent.shift()
      else end.unsent[0] = head.subarray(taken)
      end.onTheWayBytes += taken
      end.pipe.push(head.subarray(0, taken))
      const { stream } = end
      if (stream !== undefined)
        end.host.give((core) => {
          core.streamSent(stream, taken)
        })
    }
    if (end.isEnding && end.unsent.length === 0) {
      end.isEnding = false
      end.pipe.push('end')
    }
  }

  #arrive(end: End, connection: Connection, item: Buffer | 'end'): void {
    if (item === 'end') {
      this.#cut(connection)
      return
    }
    if (end.isClosed) {
      const other = end === connection.leader ? connection.follower : connection.leader
      if (connection.isGivenUp) this.#close(other, connection)
      return
    }
    end.received.push(item)
    end.host.wake()
  }

  // --- Life of a connection --------------------------------------------------------------------------------------------

  #tryLater(host: Host, follow: Follow, delayNs: number): void {
    if (follow.isTrying) return
    follow.isTrying = true
    this.#parts.schedule.after(delayNs, () => {
      follow.isTrying = false
      this.#try(host, follow)
    })
  }

  #again(host: Host, follow: Follow): void {
    if (this.#followsOf(host).get(follow.volume) !== follow || !host.isReady) return
    this.#tryLater(host, follow, follow.retryNs * (1 + this.#parts.random() / 8))
    follow.retryNs = Math.min(2 * follow.retryNs, RETRY_NS_MAX)
  }

  #try(host: Host, follow: Follow): void {
    const { network, hosts, schedule } = this.#parts
    if (this.#followsOf(host).get(follow.volume) !== follow) return
    if (!host.isReady || follow.connection !== undefined) return
    const leader = hosts[follow.leader] as Host
    const life = host.life
    const roundTripNs =
      2 * (network.delayNs(host.index, leader.index) + network.delayNs(leader.index, host.index))
    schedule.after(roundTripNs, () => {
      const isWhole = !network.isCut(host.index, leader.index) && !network.isCut(leader.index, host.index)
      if (life !== host.life) return
      if (!isWhole || !leader.isReady || leader.isFrozen || host.isFrozen || leader.index !== follow.leader) {
        this.#again(host, follow)
        return
      }
      this.#open(host, leader, follow)
    })
  }

  #open(host: Host, leader: Host, follow: Follow): void {
    const { network, schedule, random } = this.#parts
    let atLeader: number
    try {
      atLeader = leader.core?.openStream('leader', follow.volume) ?? 0
    } catch (error) {
      this.#parts.coverage.count(`protocol:no stream, ${(error as { code: string }).code}`)
      this.#again(host, follow)
      return
    }
    const connection: Connection = {
      volume: follow.volume,
      isGivenUp: false,
      leader: this.#end(
        leader,
        network.pipe(
          leader.index,
          host.index,
          (item) => {
            this.#arrive(connection.follower, connection, item)
          },
          () => {
            this.#giveUp(connection.leader, connection)
          },
        ),
      ),
      follower: this.#end(
        host,
        network.pipe(
          host.index,
          leader.index,
          (item) => {
            this.#arrive(connection.leader, connection, item)
          },
          () => {
            this.#giveUp(connection.follower, connection)
          },
        ),
      ),
    }
    follow.connection = connection
    this.#attach(connection.leader, connection, atLeader)
    this.#parts.coverage.count('protocol:stream opened')
    schedule.after(network.delayNs(leader.index, host.index), () => {
      if (connection.follower.isClosed) return
      if (connection.follower.life !== host.life || !host.isReady) {
        this.#cut(connection)
        return
      }
      try {
        this.#attach(connection.follower, connection, host.core?.openStream('follower', follow.volume) ?? 0)
        if (chance(random, 0.5)) follow.retryNs = RETRY_NS_MIN
      } catch (error) {
        this.#parts.coverage.count(`protocol:no stream, ${(error as { code: string }).code}`)
        this.#cut(connection)
      }
    })
  }

  #end(host: Host, pipe: Pipe<Buffer | 'end'>): End {
    return {
      host,
      life: host.life,
      pipe,
      stream: undefined,
      unsent: [],
      onTheWayBytes: 0,
      received: [],
      isEnding: false,
      isClosed: false,
    }
  }

  #attach(end: End, connection: Connection, stream: number): void {
    end.stream = stream
    this.#endsOf(end.host).set(stream, { end, connection })
    end.host.wake()
  }

  #cut(connection: Connection): void {
    const { schedule, random } = this.#parts
    for (const end of [connection.leader, connection.follower]) {
      end.pipe.close()
      schedule.after(spread(random, 10_000, 5 * MILLISECOND), () => {
        this.#close(end, connection)
      })
    }
  }

  /** What it sent was not confirmed for long. */
  #giveUp(end: End, connection: Connection): void {
    this.#parts.coverage.count('fault:connection given up')
    connection.isGivenUp = true
    this.#close(end, connection)
  }

  /** One side learns that the connection is gone. */
  #close(end: End, connection: Connection): void {
    if (end.isClosed) return
    end.isClosed = true
    end.pipe.close()
    const { host, stream } = end
    if (host.life === end.life && stream !== undefined) {
      this.#endsOf(host).delete(stream)
      host.give((core) => {
        core.streamClosed(stream)
      })
    }
    if (end !== connection.follower) return
    const follow = this.#followsOf(host).get(connection.volume)
    if (follow?.connection !== connection) return
    follow.connection = undefined
    this.#again(host, follow)
  }

  #endsOf(host: Host): Map<number, { end: End; connection: Connection }> {
    return this.#ends.get(host) as Map<number, { end: End; connection: Connection }>
  }

  #followsOf(host: Host): Map<VolumeId, Follow> {
    return this.#follows.get(host) as Map<VolumeId, Follow>
  }
}
