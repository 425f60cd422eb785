/**
 * The shipped endpoint of an attached volume (docs/nbd.md, Sessions), driven by JavaScript: a simulator plays its clients, and
 * the connections to whoever is the volume's primary.
 */
import { addon, type RawSimEndpoint } from './addon.js'
import type { SimOp, SimReply } from './sim-core.js'

/** What goes out over a route, in order: a request, or that the refusal of one was seen. */
export type SimSent =
  | { readonly route: number; readonly op: Omit<SimOp, 'client' | 'target'> }
  | { readonly route: number; readonly op?: undefined; readonly seen: number }

export interface SimEndpointEffects {
  readonly sent: readonly SimSent[]
  /** Answers to its clients; an `error` of -1: the session is over. */
  readonly delivered: readonly SimReply[]
  /** There is a way to the primary. */
  readonly isRouted: boolean
}

export class SimEndpoint {
  readonly #raw: RawSimEndpoint = new addon.SimEndpoint()

  /** A client's request. */
  submit(op: Omit<SimOp, 'target' | 'sequence'>): void {
    this.#raw.submit(op)
  }

  /** There is a new way to the primary: all that is not answered goes out over it. @returns its number */
  route(recordBytesMax: number): number {
    return this.#raw.route(recordBytesMax)
  }

  /** The route has come to its end. */
  lost(route: number): void {
    this.#raw.lost(route)
  }

  /** What the primary answers; over a route that is over it is nothing. */
  answer(route: number, reply: Omit<SimReply, 'client'>): void {
    this.#raw.answer(route, reply)
  }

  /** The session is over. */
  end(): void {
    this.#raw.end()
  }

  /** All that came out since it was last asked. */
  take(): SimEndpointEffects {
    return this.#raw.take() as SimEndpointEffects
  }
}
