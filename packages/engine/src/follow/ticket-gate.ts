/** Lets nobody have a stream who does not prove the key for it (docs/wire-protocol.md, Tickets). */
import type { IncomingMessage } from 'node:http'
import { HostId, NotPrimaryError, Stamp, TicketError } from '@cloudfs/interface'
import type { FoundVolume } from '../volume-lookup.js'
import { Challenges } from './challenges.js'
import { followKeyOf, HOST_HEADER, isProven, parseTicket, type StreamScope, TICKET_HEADER } from './ticket.js'

/** Number of the local item that holds a view's stamp (docs/disk-format.md). */
const STAMP_KIND = 1

export class TicketGate {
  readonly #challenges = new Challenges()

  /** A fresh nonce, for one ticket. */
  challenge(): string {
    return this.#challenges.give()
  }

  /** @returns the host that was let in @throws {TicketError} with a challenge for the next attempt */
  check(request: IncomingMessage, found: FoundVolume, protocol: StreamScope['protocol']): Promise<HostId> {
    return this.#check(request, { protocol, volume: found.status.volume }, (scope) =>
      keyAtLeader(found, scope),
    )
  }

  /** The same by the stamp of a view to come. */
  checkExpected(
    request: IncomingMessage,
    { stamp, ...what }: Omit<StreamScope, 'host'> & { readonly stamp: Stamp },
  ): Promise<HostId> {
    return this.#check(request, what, (scope) => followKeyOf(stamp, scope))
  }

  async #check(
    request: IncomingMessage,
    what: Omit<StreamScope, 'host'>,
    keyFor: (scope: StreamScope) => Buffer | Promise<Buffer>,
  ): Promise<HostId> {
    const host = request.headers[HOST_HEADER]
    const text = request.headers[TICKET_HEADER]
    if (text === undefined) throw this.#refuse('a stream needs a ticket')
    if (typeof text !== 'string' || typeof host !== 'string') throw this.#refuse('one ticket, of one host')
    const ticket = parseTicket(text)
    // Used up before it is looked at: it is not worth a second guess.
    if (ticket === undefined || !this.#challenges.take(ticket.nonce)) {
      throw this.#refuse('the ticket is not for a challenge of late')
    }
    const scope = { ...what, host: HostId.parse(host) }
    if (!isProven(await keyFor(scope), ticket, scope)) {
      throw this.#refuse('the ticket does not prove the key')
    }
    return scope.host
  }

  #refuse(message: string): TicketError {
    const headers = { 'WWW-Authenticate': `CloudFS nonce="${this.challenge()}"` }
    return new TicketError(message, { headers })
  }
}

/** The key that `host` is given, and asked for. @throws {NotPrimaryError} only who leads, or was elected to, has the stamp */
export async function keyAtLeader({ store }: FoundVolume, scope: StreamScope): Promise<Buffer> {
  const { result } = await store.command('get-local', { volume: scope.volume, kind: STAMP_KIND })
  if (result.bytes === null) throw new NotPrimaryError(`the stamp of volume ${scope.volume} is not here`)
  return followKeyOf(Stamp.parse(result.bytes), scope)
}
