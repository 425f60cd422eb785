/**
 * Keeps a node from starting on a store while it is read, and finds out whether one runs. The engine holds flock(2)
 * exclusively (native/src/shell/lock.h); readers hold it shared, so that several may look at once.
 *
 * Node has no flock. The lock belongs to the open file and not to the process that asked for it, so flock(1) of util-linux
 * takes it on a descriptor that is handed down, and it stays for as long as the file is open here.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { FileHandle } from 'node:fs/promises'
import { StoreIoError, StoreLockedError } from '@cloudfs/interface'

/** flock(1) exits with this if another has the lock. */
const EXIT_CONFLICT = 1

/**
 * Takes the lock until `file` is closed.
 *
 * @throws {StoreLockedError} an engine has it
 * @throws {StoreIoError} flock(1) is not there, or failed
 */
export async function lockShared(file: FileHandle, path: string): Promise<void> {
  const child = spawn('flock', ['--shared', '--nonblock', '3'], {
    stdio: ['ignore', 'ignore', 'pipe', file.fd],
  })
  let talk = ''
  child.stderr?.on('data', (text: Buffer) => (talk += text.toString()))
  let code: number | null
  try {
    ;[code] = (await once(child, 'close')) as [number | null]
  } catch (cause) {
    throw new StoreIoError(`the store at ${path} cannot be locked: flock, of util-linux, does not run`, {
      cause,
      path,
    })
  }
  if (code === 0) return
  if (code === EXIT_CONFLICT)
    throw new StoreLockedError(`the store at ${path} is open in another process`, { path })
  throw new StoreIoError(`the store at ${path} cannot be locked: ${talk.trim()}`, { path, exitCode: code })
}
