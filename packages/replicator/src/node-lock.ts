/**
 * One replicator at a time in a directory: `replicator.pid` names it. Node has no file locks, and the addon that has them
 * is the engine's; a unix socket does as well, since the kernel drops it with its process.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, realpathSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { NodeRunningError } from './errors.js'

/**
 * Takes the directory, until the process ends or lets go of it.
 *
 * @returns lets go
 * @throws {NodeRunningError}
 */
export async function takeNodeDirectory(directory: string): Promise<() => void> {
  mkdirSync(directory, { recursive: true, mode: 0o755 })
  // An abstract socket: no file of it is left behind.
  const server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EADDRINUSE') reject(cause)
      else reject(new NodeRunningError(`a replicator runs in ${directory}`, { cause, directory }))
    })
    const name = createHash('sha256').update(realpathSync(directory)).digest('hex')
    server.listen(`\0cloudfs-replicator ${name}`, resolve)
  })
  server.unref()
  writeFileSync(join(directory, 'replicator.pid'), `${String(process.pid)}\n`)
  return () => {
    server.close()
  }
}
