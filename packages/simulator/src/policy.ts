/**
 * Who decides which host leads a volume. A world has one instance for each host, as a node has one replicator; it acts by
 * commands to its own engine and by messages to other hosts alone, and its clock and chance are the world's.
 */
import { setMaxListeners } from 'node:events'
import type { ViewPayload } from '@cloudfs/format'
import type {
  CoreCommands,
  CoreEvent,
  CoreVerb,
  Epoch,
  Head,
  HostId,
  StoreId,
  VolumeId,
} from '@cloudfs/interface'
import { CloudfsError } from '@cloudfs/interface'
import type { Place, Wish } from '@cloudfs/protocol'
import type { Coverage } from './coverage.js'
import type { Host } from './host.js'
import type { Keys } from './keys.js'
import type { Network } from './network.js'
import { below, type Random } from './random.js'
import { MILLISECOND, type Schedule } from './schedule.js'

/** A set with a witness goes on without a data member, or with it again; what only the witness has is left off. */
type Degrading = 'without' | 'again' | 'cut'

/** What a host's policy is told. */
export interface Policy {
  /** The engine is ready, again or for the first time. */
  onReady(): void
  onEvent(event: CoreEvent): void
  /** The volume was created, and this host is one of its members. */
  onVolume(volume: VolumeId, primary: number): void
  /** Another host asks; what is thrown, and has a code, is its answer. */
  onRequest(name: string, body: unknown, caller: HostId): Promise<unknown>
  /** An operator has another host lead the volume in this one's stead. */
  handOver?(volume: VolumeId, to: HostId): Promise<void>
  /** An operator wishes something of who keeps the volume, which this host leads; answered behind the first step. */
  changeSet?(volume: VolumeId, wish: Wish): Promise<void>
  /** An operator has this host go on alone. */
  force?(volume: VolumeId): Promise<void>
  /** Something is wished of a set, and not done. */
  readonly isBusy?: boolean
  /** The host's processes are gone: nothing of this instance is to act any more. */
  onDown(): void
}

/** What a policy has of the world. Everything in it belongs to one life of the host: behind that it rejects for ever. */
export interface PolicyPorts {
  readonly index: number
  readonly host: HostId
  readonly store: StoreId
  /** Every host has a key pair: a seed, which no other host knows, and what all know of it. */
  readonly seed: Uint8Array
  readonly publicKeyOf: (host: HostId) => Uint8Array
  readonly indexOf: (host: HostId) => number
  readonly clock: { nowMs(): number; sleep(ms: number, signal?: AbortSignal): Promise<void> }
  readonly random: Random
  readonly randomBytes: (count: number) => Uint8Array
  readonly command: <V extends CoreVerb>(
    verb: V,
    args: CoreCommands[V]['args'],
  ) => Promise<CoreCommands[V]['result']>
  readonly ask: (to: number, name: string, body: unknown, timeoutMs: number) => Promise<unknown>
  readonly follow: (volume: VolumeId, leader: number) => void
  readonly unfollow: (volume: VolumeId) => void
  /** Whom this host's engine follows. */
  readonly leaderOf: (volume: VolumeId) => number | undefined
  /** All hosts that may keep a volume. */
  readonly places: readonly Place[]
  /** A member that has been away this long is replaced. */
  readonly replaceAfterMs: number
  /** For the log of a run. */
  readonly say: (what: string) => void
  /** This host has won the epoch, whose first record gets this lsn. */
  readonly onElected: (volume: VolumeId, epoch: Epoch, head: Head) => void
  /** And is about to make this view. */
  readonly onView: (volume: VolumeId, epoch: Epoch, view: ViewPayload) => void
  /** This host keeps the volume no longer, and has given its space back. */
  readonly onDropped: (volume: VolumeId) => void
  /** This host replaces a member that has been gone for long. */
  readonly onReplaced: (volume: VolumeId) => void
  /** This host leads a set with a witness. */
  readonly onDegrading: (step: Degrading) => void
  /** This host is about to make a restart view: the volume goes on from `lsn`. */
  readonly onRestart: (volume: VolumeId, lsn: number) => void
  /** And that by an operator's word. */
  readonly onForced: (volume: VolumeId, epoch: Epoch, lsn: number) => void
  /** How long whoever has just started is patient. */
  readonly patientMs: number
  /** Another host went on by force without this one, which does not follow it therefore. */
  readonly isPassedByForce: (volume: VolumeId) => boolean
  /** Work that nobody waits for threw. */
  readonly onBug: (error: unknown) => void
}

export type PolicyMaker = (ports: PolicyPorts) => Policy

/** Whoever made a volume leads it for ever; the others follow. */
export const fixedPrimary: PolicyMaker = ({ index, follow }) => ({
  onReady: () => undefined,
  onEvent: () => undefined,
  onVolume: (volume, primary) => {
    if (index !== primary) follow(volume, primary)
  },
  onRequest: (name) => Promise.reject(new SimulatedError('ERR_UNKNOWN_REQUEST', name)),
  onDown: () => undefined,
})

/** An error with the code that an engine or another host answered. */
export class SimulatedError extends CloudfsError {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

interface PortsParts {
  readonly schedule: Schedule
  readonly coverage: Coverage
  readonly random: Random
  readonly network: Network
  readonly hosts: readonly Host[]
  readonly keys: Keys
  readonly policyOf: (index: number) => Policy | undefined
  readonly follow: (host: Host, volume: VolumeId, leader: number) => void
  readonly unfollow: (host: Host, volume: VolumeId) => void
  /** Promises of policies may go on: they are run dry before the next event. */
  readonly stir: () => void
  readonly leaderOf: (host: Host, volume: VolumeId) => number | undefined
  readonly replaceAfterMs: number
  readonly say: (host: Host, what: string) => void
  readonly onElected: (volume: VolumeId, epoch: Epoch, head: Head) => void
  readonly onView: (volume: VolumeId, epoch: Epoch, view: ViewPayload) => void
  readonly onDropped: (host: Host, volume: VolumeId) => void
  readonly onReplaced: (volume: VolumeId) => void
  readonly onDegrading: (step: Degrading) => void
  readonly onRestart: (host: Host, volume: VolumeId, lsn: number) => void
  readonly onForced: (host: Host, volume: VolumeId, epoch: Epoch, lsn: number) => void
  readonly patientMs: number
  readonly isPassedByForce: (host: Host, volume: VolumeId) => boolean
  readonly onBug: (host: Host, error: unknown) => void
  /** A host has answered another's question, and done what that asks for. */
  readonly onAnswered: (host: Host, name: string, caller: Host) => void
}

function outcomeOf(what: string, code: string): string {
  return code === '' ? what : `${what} ${code}`
}

/** The ports of one life of a host's policy. */
export function portsOf(host: Host, parts: PortsParts): PolicyPorts {
  const { schedule, coverage, random, network, hosts, keys, stir } = parts
  const { life } = host
  const isAlive = (): boolean => host.life === life && host.isUp
  /** What a frozen process would do it does when it goes on. */
  const whenAwake = (run: () => void): void => {
    if (!isAlive()) return
    if (host.isFrozen) {
      schedule.after(5 * MILLISECOND, () => {
        whenAwake(run)
      })
      return
    }
    stir()
    run()
  }
  const indexOf = (id: HostId): number => hosts.findIndex((each) => each.host === id)
  return {
    index: host.index,
    host: host.host,
    store: host.store,
    seed: keys.seedOf(host.index),
    publicKeyOf: (id) => keys.publicKeyOf(indexOf(id)),
    indexOf,
    random,
    randomBytes: (count) => Uint8Array.from({ length: count }, () => below(random, 256)),
    clock: {
      nowMs: () => host.clock.now() / MILLISECOND,
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          if (signal?.aborted === true) {
            reject(signal.reason as Error)
            return
          }
          const onAbort = (): void => {
            planned.cancel()
            stir()
            reject(signal?.reason as Error)
          }
          const planned = schedule.at(host.clock.worldTimeOf(host.clock.now() + ms * MILLISECOND), () => {
            signal?.removeEventListener('abort', onAbort)
            whenAwake(resolve)
          })
          if (signal === undefined) return
          setMaxListeners(0, signal)
          signal.addEventListener('abort', onAbort)
        }),
    },
    command: (verb, args) =>
      new Promise((resolve, reject) => {
        host.command(verb, args, (answer) => {
          if (answer !== undefined) coverage.count(outcomeOf(`command:${verb}`, answer.errorCode))
          whenAwake(() => {
            if (answer === undefined) reject(new SimulatedError('ERR_ENGINE_GONE', 'the engine is gone'))
            else if (answer.errorCode !== '') reject(new SimulatedError(answer.errorCode, answer.message))
            else resolve(answer.result)
          })
        })
      }),
    ask: (to, name, body, timeoutMs) =>
      new Promise((resolve, reject) => {
        const timer = schedule.after(timeoutMs * MILLISECOND, () => {
          whenAwake(() => {
            reject(new SimulatedError('ERR_PEER_TIMEOUT', `host ${String(to)} does not answer ${name}`))
          })
        })
        const other = hosts[to] as Host
        /** As it travels: nothing of one host is an object of another's. */
        const text = JSON.stringify(body)
        const answer = (settle: () => void): void => {
          network.send(to, host.index, () => {
            timer.cancel()
            whenAwake(settle)
          })
        }
        network.send(host.index, to, () => {
          const policy = parts.policyOf(to)
          if (policy === undefined || !other.isUp || other.isFrozen) return
          stir()
          const { life: otherLife } = other
          policy.onRequest(name, JSON.parse(text), host.host).then(
            (result) => {
              coverage.count(`asked:${name}`)
              parts.onAnswered(other, name, host)
              const said = JSON.stringify(result)
              answer(() => {
                resolve(JSON.parse(said))
              })
            },
            (error: unknown) => {
              // It was cut short.
              if (other.life !== otherLife || !other.isUp) return
              const { code, message } = error as { code?: string; message: string }
              if (code === undefined) throw error
              coverage.count(outcomeOf(`asked:${name}`, code))
              answer(() => {
                reject(new SimulatedError(code, message))
              })
            },
          )
        })
      }),
    follow: (volume, leader) => {
      if (isAlive()) parts.follow(host, volume, leader)
    },
    unfollow: (volume) => {
      if (isAlive()) parts.unfollow(host, volume)
    },
    leaderOf: (volume) => parts.leaderOf(host, volume),
    places: hosts.map((each) => ({ host: each.host, store: each.store })),
    replaceAfterMs: parts.replaceAfterMs,
    say: (what) => {
      parts.say(host, what)
    },
    onElected: parts.onElected,
    onView: parts.onView,
    onDropped: (volume) => {
      parts.onDropped(host, volume)
    },
    onReplaced: parts.onReplaced,
    onDegrading: parts.onDegrading,
    onRestart: (volume, lsn) => {
      parts.onRestart(host, volume, lsn)
    },
    onForced: (volume, epoch, lsn) => {
      parts.onForced(host, volume, epoch, lsn)
    },
    patientMs: parts.patientMs,
    isPassedByForce: (volume) => parts.isPassedByForce(host, volume),
    onBug: (error) => {
      parts.onBug(host, error)
    },
  }
}
