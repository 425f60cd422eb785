/**
 * Copies a disk image window by window, so that what was interrupted goes on where it stopped: each window is flushed
 * before it counts as done. Blocks that read as zeros are not written, for the target is new and reads as zeros.
 */
import { type ImageNode, qemuImg } from './qemu-img.js'

/** What an interruption repeats at most. */
export const WINDOW_SIZE_DEFAULT = '256M'

export interface CopyOptions {
  readonly source: ImageNode
  /** Of at least `sizeBytes`; holds zeros, or what an earlier run of the same copy wrote. */
  readonly target: ImageNode
  readonly sizeBytes: number
  readonly windowBytes: number
  /** What earlier runs have done. */
  readonly doneBytes: number
  readonly signal: AbortSignal
  readonly onProgress: (doneBytes: number) => void
  /** All up to here is in the target, flushed. */
  readonly onWindow: (doneBytes: number) => void
}

/** @throws {ImageToolError | InterruptedError} */
export async function copyWindows({
  source,
  target,
  sizeBytes,
  windowBytes,
  doneBytes,
  signal,
  onProgress,
  onWindow,
}: CopyOptions): Promise<void> {
  for (let offset = doneBytes; offset < sizeBytes; offset += windowBytes) {
    const size = Math.min(windowBytes, sizeBytes - offset)
    const args = [
      ...['convert', '-p', '-n', '--target-is-zero', '-W', '-t', 'writeback', '-O', 'raw'],
      windowOf(source, offset, size),
      windowOf(target, offset, size),
    ]
    await qemuImg(args, {
      signal,
      onProgress: (percent) => {
        onProgress(offset + (size * percent) / 100)
      },
    })
    onWindow(offset + size)
  }
}

function windowOf(node: ImageNode, offset: number, size: number): string {
  return `json:${JSON.stringify({ driver: 'raw', offset, size, file: node })}`
}
