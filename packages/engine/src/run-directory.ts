/** The run directory: one engine at a time, and which one. */
import { ftruncateSync, mkdirSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { lockFile } from '@cloudfs/native'

/**
 * Takes the directory for this process, until it ends: `engine.pid` in it is locked and holds the process id.
 *
 * @throws ERR_LOCKED an engine runs there
 */
export function takeRunDirectory(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o755 })
  // The descriptor stays open for the life of the process; the lock goes with it, however it ends.
  const fd = lockFile(join(path, 'engine.pid'))
  ftruncateSync(fd)
  writeSync(fd, `${process.pid}\n`, 0)
}
