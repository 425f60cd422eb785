/**
 * What an engine process and those who command it (the replicator, tools) say to each other over its control socket.
 *
 * Each message is one line of JSON, at most `ENGINE_MESSAGE_BYTES_MAX` with its newline. Requests carry an id that the
 * response repeats; responses come in any order. Several clients may be connected; each sees the responses to its own
 * requests, and every event once it has sent `subscribe`. A client that goes away takes nothing with it.
 */
import type { CoreCommands } from './core-messages.js'
import type { Epoch } from './history.js'
import type { HostId, StoreId, VolumeId } from './ids.js'

/** Longest line in either direction. Past this the engine says ERR_MESSAGE_TOO_LONG and hangs up. */
export const ENGINE_MESSAGE_BYTES_MAX = 4 * 1024 * 1024

/** Bytes of messages that a client has not read yet. Past this the engine hangs up on it. */
export const ENGINE_BACKLOG_BYTES_MAX = 16 * 1024 * 1024

/** Requests of a client not answered yet. At this many the engine reads no further ones from it. */
export const ENGINE_REQUESTS_IN_FLIGHT_MAX = 64

/** Where a store is in its life. */
export type StoreState = 'starting' | 'ready' | 'failed' | 'stopped'

export interface StoreStatus {
  /** As given to the engine; names the store in requests, as its id does. */
  readonly path: string
  readonly store?: StoreId
  readonly host?: HostId
  readonly state: StoreState
  /** Why it failed. */
  readonly error?: { readonly code: string; readonly message: string }
}

/** Figures of a store's thread, sockets and file system. */
export interface ShellStatus {
  readonly connections: number
  readonly listeners: number
  /** To other engines: those open now, and the bytes of all there have been since the store was opened. */
  readonly streams: number
  readonly streamBytesSent: number
  readonly streamBytesReceived: number
  readonly ioInFlight: number
  readonly turns: number
  readonly totalBytes: number
  readonly availableBytes: number
}

/** What the scrubber of a store does and did: numbers alone, as metrics have them. */
export interface ScrubStatus {
  /** 1: a pass is under way. */
  readonly scrubRunning: number
  /** Bytes read of this pass, and of all that some version needs. */
  readonly scrubPassBytes: number
  readonly scrubLiveBytes: number
  /** Of this pass, or the last one: bad blocks met, and how many of them another replica had; map pages that are bad. */
  readonly scrubPassCorrupt: number
  readonly scrubPassRepaired: number
  readonly scrubPassPagesCorrupt: number
  /** Whole passes since the engine started, and when the last one ended, in seconds since 1970; 0: none yet. */
  readonly scrubPasses: number
  readonly scrubEndedSeconds: number
}

/** A volume's primary, where its engine's HTTP is, and the key that it gave this host. */
export interface FollowArguments {
  readonly volume: VolumeId
  readonly leader: HostId
  /** `HOST:PORT` */
  readonly address: string
  /** Hex; a secret. */
  readonly key: string
  /** A challenge that came with the key: the first attempt need not ask for one. */
  readonly nonce?: string | undefined
}

/** What serves a volume that is attached at this host. */
export interface EndpointStatus {
  readonly volume: VolumeId
  readonly session: string
  readonly socket: string
  /** Where the volume's primary is found: at this engine, over a connection, or not; then requests wait. */
  readonly route: 'none' | 'here' | 'there'
  /** Requests that are not answered. */
  readonly waiting: number
  /** How long there has been no route. */
  readonly routelessMs: number
}

/** How a volume is followed. */
export interface FollowStatus {
  readonly volume: VolumeId
  readonly leader: HostId
  readonly address: string
  /** `refused`: the primary answers, but gives no stream. In either state but `connected` it is tried again, for ever. */
  readonly state: 'connecting' | 'connected' | 'refused'
  /** Since when, ISO 8601. */
  readonly since: string
  /** Of the last attempt, unless connected. */
  readonly error?: { readonly code: string; readonly message: string }
}

/** The engine's own commands; those of the core are sent on to it (docs/core.md). */
export interface EngineCommands extends CoreCommands {
  stores: { args: object; result: readonly StoreStatus[] }
  /** Events follow from now on. */
  subscribe: { args: object; result: unknown }
  /** Serves a volume over NBD at a unix socket, as its default export. Doing it again changes nothing. */
  serve: {
    args: { readonly volume: VolumeId; readonly socket: string; readonly mode?: number }
    result: unknown
  }
  /** Ends `serve`; its clients are let go once their requests in flight are answered. */
  unserve: { args: { readonly socket: string }; result: { readonly served: boolean } }
  /** Serves all exports of the store over NBD at a TCP port; 0 = any. */
  listen: {
    args: { readonly host: string; readonly port: number }
    result: { readonly port: number }
  }
  /** Where the engine serves HTTP, if it does. */
  http: { args: object; result: { readonly host?: string; readonly port?: number } }
  /** At a volume's primary: the key with which `host` has streams of it, of one protocol. Hex; a secret. */
  'follow-key': {
    args: {
      readonly volume: VolumeId
      readonly host: HostId
      readonly protocol: 'cloudfs-records' | 'cloudfs-session'
    }
    /** `nonce`: a challenge that the first ticket may answer, so that it need not be asked for. */
    result: { readonly key: string; readonly nonce: string }
  }
  /**
   * This host is about to lead the volume in that epoch, in a view of that stamp: for 5 s `follow-key` gives keys by it, and who comes
   * with one is let in when that is so.
   */
  'expect-lead': {
    args: { readonly volume: VolumeId; readonly epoch: Epoch; readonly stamp: string }
    result: unknown
  }
  /**
   * Keeps a stream open from the volume's primary, from now on and after restarts. Doing it again replaces address and
   * key; with the same ones it changes nothing.
   */
  follow: { args: FollowArguments; result: unknown }
  /**
   * That host is about to be the volume's primary: connects to it, and follows it, as by `follow`, once it lets this host in. Until
   * then nothing changes, and if it does not, nothing has.
   */
  'follow-next': { args: FollowArguments; result: unknown }
  /** Ends `follow` and its stream. */
  unfollow: { args: { readonly volume: VolumeId }; result: { readonly followed: boolean } }
  follows: { args: object; result: readonly FollowStatus[] }
  /**
   * Makes the endpoint of a volume that is attached here. It listens at its first route, and stays while routes come and go.
   * One of another session of the volume ends first.
   */
  endpoint: {
    args: {
      readonly volume: VolumeId
      /** 16 bytes in hex, as in the volume's attach record. */
      readonly session: string
      readonly socket: string
      readonly mode?: number | undefined
    }
    result: unknown
  }
  /**
   * Leads an endpoint to the volume's primary, in place of any route it has: what is not answered is sent again there. Answered
   * when the session is open there. `key`: what `follow-key` gave for `cloudfs-session`. `isNext`: that host is about to be the
   * primary, and opens it then.
   */
  route: {
    args: {
      readonly volume: VolumeId
      readonly session: string
      readonly to:
        | 'here'
        | {
            readonly address: string
            readonly key: string
            readonly nonce?: string | undefined
            readonly isNext?: boolean | undefined
          }
    }
    result: unknown
  }
  /** Hangs up the endpoint's clients and removes its socket. */
  'end-endpoint': { args: { readonly volume: VolumeId }; result: { readonly ended: boolean } }
  endpoints: { args: object; result: readonly EndpointStatus[] }
  /** Where this host's replicator serves HTTP: it is asked where volumes are that the engine does not hold. */
  replicator: { args: { readonly address: string }; result: unknown }
  'shell-stats': { args: object; result: ShellStatus }
  /** Has the store read from end to end, at once and as fast as it goes: a pass that is under way begins anew. */
  'scrub-now': { args: object; result: ScrubStatus }
  'scrub-status': { args: object; result: ScrubStatus }
}
export type EngineVerb = keyof EngineCommands

/** A request. `store` may be left out where the engine has one store. */
export interface EngineRequest {
  readonly id: number
  readonly verb: string
  readonly store?: string
  readonly args?: object
  /** Base64. */
  readonly payload?: string
}

export interface EngineErrorMessage {
  readonly code: string
  readonly message: string
  readonly errno?: number
  readonly syscall?: string
}

/** A response; `id` is null where the request's could not be read. */
export type EngineResponse =
  | { readonly id: number; readonly result: unknown; readonly payload?: string }
  | { readonly id: number | null; readonly error: EngineErrorMessage }

/** An event of a store, named by its path: the core's (docs/core.md), or `store-state`. */
export interface EngineEvent {
  readonly event: string
  readonly store: string
  readonly detail: object
}
