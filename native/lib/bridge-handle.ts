/**
 * Unix sockets whose clients are served by another host. Each client is joined to a connection that the owner opens; from
 * then on a native thread moves its bytes, and no JavaScript runs.
 */
import { addon, type RawBridgeHandle } from './addon.js'
import type { UnixAddress } from './store-handle.js'

export class BridgeHandle {
  readonly #raw: RawBridgeHandle

  /**
   * @param onClient - told of each client that has connected to the socket at `path`; it waits for `join` or `refuse`;
   *   must not throw
   */
  constructor(onClient: (client: number, path: string) => void) {
    this.#raw = new addon.BridgeHandle(onClient)
  }

  /** @throws ERR_ADDRESS_IN_USE, ERR_ADDRESS_INVALID, ERR_LISTEN */
  listen(address: UnixAddress): Promise<void> {
    return this.#raw.listen(address)
  }

  /** Stops listening at `path` and ends the connections that came from there. @returns whether there was one */
  unlisten(path: string): Promise<boolean> {
    return this.#raw.unlisten(path)
  }

  /**
   * Joins a client to a connected socket. The descriptor is duplicated: the caller destroys its own, and reads nothing from
   * it after the call. When either side ends, so does the other.
   *
   * @param early - bytes that the socket had received already
   */
  join(client: number, fd: number, early?: Uint8Array): void {
    this.#raw.join(client, fd, early)
  }

  /** Closes a client that waits. */
  refuse(client: number): void {
    this.#raw.refuse(client)
  }

  /** Ends everything. May be called twice. */
  close(): void {
    this.#raw.close()
  }
}
