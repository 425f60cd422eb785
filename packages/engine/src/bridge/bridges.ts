/**
 * Volumes attached at this host whose primary is another: a unix socket here, and for each of its clients a connection to
 * the primary's NBD server. JavaScript opens the connection; what then goes through it is native.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { BridgeArguments, HostId } from '@cloudfs/interface'
import { BridgeHandle } from '@cloudfs/native'
import type { Logger } from 'pino'
import { parseAddress } from '../address.js'
import { openStream, type OpenedStream, StreamRefusedError } from '../follow/open-stream.js'
import { descriptorOf } from '../follow/surrender-socket.js'
import { UPGRADE_NBD } from '../http-protocols.js'

/** A primary that is away may be just restarting: its clients are kept waiting this long, then closed. */
const OPEN_MS_MAX = 5_000
const RETRY_MS = 100

export interface BridgesOptions {
  /** This host. */
  readonly host: HostId
  readonly log: Logger
}

export class Bridges {
  readonly #options: BridgesOptions
  readonly #handle: BridgeHandle
  /** By socket path. */
  readonly #bridges = new Map<string, BridgeArguments>()
  readonly #abort = new AbortController()

  constructor(options: BridgesOptions) {
    this.#options = options
    this.#handle = new BridgeHandle((client, path) => {
      this.#connect(client, path).catch((error: unknown) => {
        const bridge = this.#bridges.get(path)
        options.log.warn({ err: error, path, volume: bridge?.volume }, 'a client was not bridged')
        if (!this.#abort.signal.aborted) this.#handle.refuse(client)
      })
    })
  }

  /** Serves at a socket; again with another primary, address or key: clients that come later go there. */
  async open(bridge: BridgeArguments): Promise<void> {
    const { socket: path, mode } = bridge
    const isNew = !this.#bridges.has(path)
    // Before a client can come.
    this.#bridges.set(path, bridge)
    if (!isNew) return
    try {
      await this.#handle.listen({ path, ...(mode === undefined ? {} : { mode }) })
    } catch (error) {
      this.#bridges.delete(path)
      throw error
    }
  }

  /** @returns whether there was a bridge at the socket; its clients are closed */
  async shut(path: string): Promise<boolean> {
    this.#bridges.delete(path)
    return this.#handle.unlisten(path)
  }

  close(): void {
    this.#abort.abort()
    this.#handle.close()
  }

  async #connect(client: number, path: string): Promise<void> {
    const { socket, early } = await this.#open(path)
    socket.on('error', () => undefined)
    try {
      if (!this.#abort.signal.aborted) this.#handle.join(client, descriptorOf(socket), early)
    } finally {
      socket.destroy()
    }
  }

  async #open(path: string): Promise<OpenedStream> {
    const signal = AbortSignal.any([this.#abort.signal, AbortSignal.timeout(OPEN_MS_MAX)])
    for (;;) {
      const bridge = this.#bridges.get(path)
      const address = parseAddress(bridge?.address ?? '')
      if (bridge === undefined || address === undefined) throw new Error(`no bridge at ${path}`)
      const { volume, key } = bridge
      const { host } = this.#options
      try {
        return await openStream({
          address,
          path: `/nbd?${volume}`,
          protocol: UPGRADE_NBD,
          volume,
          host,
          key: Buffer.from(key, 'hex'),
          signal,
        })
      } catch (error) {
        // 503: a store that recovers. Any other answer stays what it is.
        const isFinal = error instanceof StreamRefusedError && error.status !== 503
        if (isFinal || signal.aborted) throw error
      }
      await sleep(RETRY_MS, undefined, { signal })
    }
  }
}
