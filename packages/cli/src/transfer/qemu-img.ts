/** qemu-img, which knows every image format, as a child process. */
import { spawn } from 'node:child_process'
import { BLOCK_BYTES } from '@cloudfs/interface'
import { z } from 'zod'
import { ImageToolError, InterruptedError } from '../errors.js'

const ImageInfo = z.object({ 'virtual-size': z.int().min(0), format: z.string() })

export interface ImageInfo {
  readonly format: string
  /** What a guest sees. */
  readonly imageBytes: number
  /** Of a volume that holds it. */
  readonly volumeBytes: number
}

/** How QEMU names what it reads or writes: options of a block driver. */
export type ImageNode = Readonly<Record<string, unknown>>

/** @throws {ImageToolError} qemu-img is missing, or the file is no image */
export async function imageInfo(file: string): Promise<ImageInfo> {
  const text = await qemuImg(['info', '--output=json', file])
  const { 'virtual-size': imageBytes, format } = ImageInfo.parse(JSON.parse(text))
  const volumeBytes = Math.max(1, Math.ceil(imageBytes / BLOCK_BYTES)) * BLOCK_BYTES
  return { format, imageBytes, volumeBytes }
}

/** A file of some format. */
export function fileNode(format: string, path: string): ImageNode {
  return { driver: format, file: { driver: 'file', filename: path } }
}

/** An export at a unix socket; the default one if no name is given. */
export function nbdNode(socket: string, name = ''): ImageNode {
  return { driver: 'nbd', server: { type: 'unix', path: socket }, export: name }
}

interface RunOptions {
  readonly signal?: AbortSignal
  /** Called with percents, 0 to 100. */
  readonly onProgress?: (percent: number) => void
}

/** @throws {ImageToolError | InterruptedError} with what it said */
export function qemuImg(args: readonly string[], { signal, onProgress }: RunOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    // A session of its own: Ctrl-C is for this process, which then ends the child.
    const child = spawn('qemu-img', args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    let text = ''
    let talk = ''
    const end = (): void => {
      child.kill('SIGTERM')
    }
    signal?.addEventListener('abort', end, { once: true })
    if (signal?.aborted === true) end()
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      if (onProgress === undefined) text += chunk
      else for (const [, percent] of chunk.matchAll(/\((\d+\.\d+)\/100%\)/g)) onProgress(Number(percent))
    })
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (talk += chunk))
    child.once('error', (cause) => {
      reject(new ImageToolError('qemu-img cannot be run: apt-get install qemu-utils', { cause }))
    })
    child.once('close', (code) => {
      signal?.removeEventListener('abort', end)
      if (signal?.aborted === true) reject(new InterruptedError('interrupted'))
      else if (code === 0) resolve(text)
      else reject(new ImageToolError(`qemu-img ${args[0] ?? ''} failed with ${String(code)}: ${talk.trim()}`))
    })
  })
}
