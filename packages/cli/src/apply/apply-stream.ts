/** Gives a history to an engine, frame by frame, and hears what becomes of it. */
import { request } from 'node:http'
import type { Duplex } from 'node:stream'
import { NodeError, NodeUnreachableError } from '@cloudfs/http'
import { type Epoch, type Lsn, StreamLostError, type VolumeId } from '@cloudfs/interface'
import { z } from 'zod'
import { commitFrame, FRAME, helloFrame, type ReplyFrame, runsFrame, takeFrames } from './frames.js'
import type { SavedRun } from './read-runs.js'

const PROTOCOL = 'cloudfs-apply'
/** An engine that says nothing for this long has lost us. */
const SILENCE_MS_MAX = 60_000
const ErrorAnswer = z.object({ code: z.string(), message: z.string() })

/** Where the copy stands in its hello: offsets of the payload (docs/wire-protocol.md, Frame). */
const HELLO = { headLsn: 68, headVersion: 104, hasVolume: 140 }

export class ApplyStream {
  /** Of the last record that the store has; 0: none. */
  headLsn = 0 as Lsn
  headVersion = ''
  readonly #socket: Duplex
  readonly #epoch: Epoch
  #rest: Buffer = Buffer.alloc(0)
  #greeted = false
  #syncedLsn = 0
  #failure: Error | undefined
  /** Told of each change of what stands above. */
  #changed = (): void => undefined

  private constructor(socket: Duplex, epoch: Epoch, early: Buffer) {
    this.#socket = socket
    this.#epoch = epoch
    socket.on('data', (chunk: Buffer) => {
      this.#receive(chunk)
    })
    socket.on('drain', () => {
      this.#tell()
    })
    socket.on('error', (error) => {
      this.#fail(new StreamLostError(`the stream broke off: ${error.message}`))
    })
    socket.on('close', () => {
      this.#fail(new StreamLostError('the engine ended the stream'))
    })
    if (early.length > 0) this.#receive(early)
  }

  /**
   * @param url - of the engine's HTTP
   * @throws {NodeError} the engine has none of it; the code is its own
   */
  static async open(url: string, volume: VolumeId, epoch: Epoch): Promise<ApplyStream> {
    const { socket, early } = await upgrade(`${url}/apply?${volume}`)
    const stream = new ApplyStream(socket, epoch, early)
    socket.write(helloFrame(epoch, volume))
    await stream.#until(() => stream.#greeted)
    return stream
  }

  /** Resolves once there is room for more. */
  async give({ bytes, lastLsn }: SavedRun): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    this.#socket.write(runsFrame(this.#epoch, lastLsn, bytes.length))
    this.#socket.write(bytes)
    await this.#until(() => !this.#socket.writableNeedDrain)
  }

  /** Resolves when everything up to `lsn` is synced there. */
  async finish(lsn: Lsn): Promise<void> {
    this.#socket.write(commitFrame(this.#epoch, lsn))
    await this.#until(() => this.#syncedLsn >= lsn)
  }

  close(): void {
    this.#failure ??= new StreamLostError('closed')
    this.#socket.destroy()
  }

  /** @throws what the stream failed with */
  async #until(isDone: () => boolean): Promise<void> {
    while (!isDone()) {
      if (this.#failure !== undefined) throw this.#failure
      let timer: NodeJS.Timeout | undefined
      await new Promise<void>((resolve, reject) => {
        const before = this.#changed
        this.#changed = () => {
          before()
          resolve()
        }
        timer = setTimeout(() => {
          reject(new StreamLostError('the engine says nothing any more'))
        }, SILENCE_MS_MAX)
      }).finally(() => {
        clearTimeout(timer)
      })
    }
  }

  #receive(chunk: Buffer): void {
    const taken = takeFrames(this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]))
    if (taken === undefined) {
      this.#fail(new StreamLostError('what comes back is not of an engine of this version'))
      return
    }
    this.#rest = taken.rest
    for (const frame of taken.frames) this.#take(frame)
    this.#tell()
  }

  #take({ type, payload }: ReplyFrame): void {
    if (type === FRAME.hello && payload.length > HELLO.hasVolume) {
      this.#greeted = true
      if (payload.readUInt8(HELLO.hasVolume) === 1) {
        this.headLsn = Number(payload.readBigUInt64LE(HELLO.headLsn)) as Lsn
        this.headVersion = payload.toString('hex', HELLO.headVersion, HELLO.headVersion + 20)
      }
    } else if (type === FRAME.ack && payload.length >= 16) {
      this.#syncedLsn = Number(payload.readBigUInt64LE(8))
    } else if (type === FRAME.refuse) {
      const codeBytes = payload.readUInt8(0)
      const code = payload.toString('utf8', 1, 1 + codeBytes)
      this.#fail(new NodeError(code, payload.toString('utf8', 1 + codeBytes)))
    } else if (type === FRAME.wantBlocks) {
      const message =
        'the volume is a branch of a version that the store does not have: apply its parent first'
      this.#fail(new NodeError('ERR_BRANCH_PARENT', message))
    }
  }

  /** The first failure counts. */
  #fail(error: Error): void {
    this.#failure ??= error
    this.#tell()
    this.#socket.destroy()
  }

  #tell(): void {
    const changed = this.#changed
    this.#changed = () => undefined
    changed()
  }
}

function upgrade(url: string): Promise<{ socket: Duplex; early: Buffer }> {
  const asked = request(url, { agent: false, headers: { Connection: 'Upgrade', Upgrade: PROTOCOL } })
  return new Promise((resolve, reject) => {
    asked.once('upgrade', (_answer, socket, early) => {
      resolve({ socket, early })
    })
    asked.once('response', (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      answer.once('end', () => {
        reject(refusalOf(text, url))
      })
    })
    asked.once('error', (cause) => {
      reject(new NodeUnreachableError(`no engine answers at ${new URL(url).host}`, { cause }))
    })
    asked.end()
  })
}

function refusalOf(text: string, url: string): Error {
  try {
    const { code, message } = ErrorAnswer.parse(JSON.parse(text))
    return new NodeError(code, message)
  } catch {
    return new NodeUnreachableError(`what answers at ${new URL(url).host} is no engine`)
  }
}
