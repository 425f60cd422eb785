/**
 * A small NBD client with many requests in flight: what the tools at hand do not tell is which requests were answered
 * when a server was killed.
 */
import { connect, type Socket } from 'node:net'

const OPTION_GO = 7
const REPLY_ACK = 1
const REPLY_INFO = 3
const REQUEST_MAGIC = 0x25609513
const REPLY_MAGIC = 0x67446698
const COMMANDS = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, writeZeroes: 6 } as const
const FLAG_FUA = 1

export class NbdGoneError extends Error {}

/** The server answered with this errno. */
class NbdError extends Error {
  readonly errno: number

  constructor(errno: number) {
    super(`NBD error ${errno}`)
    this.errno = errno
  }
}

interface Waiting {
  readonly bytes: number
  readonly resolve: (data: Buffer) => void
  readonly reject: (error: Error) => void
}

/** Bytes as they come, handed out in the sizes asked for. */
class Inbox {
  #chunks: Buffer[] = []
  #bytes = 0
  #wanted: { bytes: number; resolve: (data: Buffer) => void; reject: (error: Error) => void } | undefined
  #ended = false

  push(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    this.#serve()
  }

  end(): void {
    this.#ended = true
    this.#wanted?.reject(new NbdGoneError('the server hung up'))
    this.#wanted = undefined
  }

  take(bytes: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.#ended && this.#bytes < bytes) {
        reject(new NbdGoneError('the server hung up'))
        return
      }
      this.#wanted = { bytes, resolve, reject }
      this.#serve()
    })
  }

  #serve(): void {
    const wanted = this.#wanted
    if (wanted === undefined || this.#bytes < wanted.bytes) return
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks)
    this.#chunks = [all.subarray(wanted.bytes)]
    this.#bytes -= wanted.bytes
    this.#wanted = undefined
    wanted.resolve(all.subarray(0, wanted.bytes))
  }
}

export class NbdClient {
  readonly sizeBytes: number
  readonly #socket: Socket
  readonly #waiting = new Map<bigint, Waiting>()
  #cookies = 0n
  #gone = false

  private constructor(socket: Socket, inbox: Inbox, sizeBytes: number) {
    this.#socket = socket
    this.sizeBytes = sizeBytes
    this.#receive(inbox).catch(() => {
      this.#end()
    })
  }

  /** Opens the default export. @throws {NbdGoneError} the server hung up, or has no such export */
  static async connect(socketPath: string): Promise<NbdClient> {
    const socket = connect(socketPath)
    const inbox = new Inbox()
    socket.on('data', (chunk) => {
      inbox.push(chunk)
    })
    socket.on('close', () => {
      inbox.end()
    })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve).once('error', reject)
    })
    socket.on('error', () => undefined)
    await inbox.take(18)
    const hello = Buffer.alloc(4 + 16 + 6)
    hello.writeUInt32BE(3, 0)
    hello.write('IHAVEOPT', 4)
    hello.writeUInt32BE(OPTION_GO, 12)
    hello.writeUInt32BE(6, 16)
    socket.write(hello)
    let sizeBytes = 0
    for (;;) {
      const header = await inbox.take(20)
      const type = header.readUInt32BE(12)
      const data = await inbox.take(header.readUInt32BE(16))
      if (type === REPLY_ACK) return new NbdClient(socket, inbox, sizeBytes)
      if (type !== REPLY_INFO) throw new NbdGoneError(`refused: ${data.toString()}`)
      if (data.readUInt16BE(0) === 0) sizeBytes = Number(data.readBigUInt64BE(2))
    }
  }

  read(offset: number, bytes: number): Promise<Buffer> {
    return this.#request('read', offset, bytes, false)
  }

  async write(offset: number, data: Buffer, fua = false): Promise<void> {
    await this.#request('write', offset, data.length, fua, data)
  }

  async writeZeroes(offset: number, bytes: number, fua = false): Promise<void> {
    await this.#request('writeZeroes', offset, bytes, fua)
  }

  async trim(offset: number, bytes: number): Promise<void> {
    await this.#request('trim', offset, bytes, false)
  }

  async flush(): Promise<void> {
    await this.#request('flush', 0, 0, false)
  }

  close(): void {
    this.#socket.destroy()
  }

  #request(
    command: keyof typeof COMMANDS,
    offset: number,
    bytes: number,
    fua: boolean,
    payload?: Buffer,
  ): Promise<Buffer> {
    const cookie = ++this.#cookies
    const header = Buffer.alloc(28)
    header.writeUInt32BE(REQUEST_MAGIC, 0)
    header.writeUInt16BE(fua ? FLAG_FUA : 0, 4)
    header.writeUInt16BE(COMMANDS[command], 6)
    header.writeBigUInt64BE(cookie, 8)
    header.writeBigUInt64BE(BigInt(offset), 16)
    header.writeUInt32BE(bytes, 24)
    return new Promise((resolve, reject) => {
      if (this.#gone) {
        reject(new NbdGoneError('the server hung up'))
        return
      }
      this.#waiting.set(cookie, { bytes: command === 'read' ? bytes : 0, resolve, reject })
      this.#socket.cork()
      this.#socket.write(header)
      if (payload !== undefined) this.#socket.write(payload)
      this.#socket.uncork()
    })
  }

  async #receive(inbox: Inbox): Promise<void> {
    for (;;) {
      const header = await inbox.take(16)
      if (header.readUInt32BE(0) !== REPLY_MAGIC) throw new Error('not a simple reply')
      const cookie = header.readBigUInt64BE(8)
      const waiting = this.#waiting.get(cookie)
      if (waiting === undefined) throw new Error('a reply to no request')
      const errno = header.readUInt32BE(4)
      // A copy: the piece keeps alive whatever it was received with.
      const data =
        errno === 0 && waiting.bytes > 0 ? Buffer.from(await inbox.take(waiting.bytes)) : Buffer.alloc(0)
      this.#waiting.delete(cookie)
      if (errno === 0) waiting.resolve(data)
      else waiting.reject(new NbdError(errno))
    }
  }

  #end(): void {
    this.#gone = true
    this.#socket.destroy()
    for (const { reject } of this.#waiting.values()) reject(new NbdGoneError('the server hung up'))
    this.#waiting.clear()
  }
}
