/** A disk as a file (nbdfuse), as a block device over it (loop), and mounted. Whatever stands is taken down by `close`. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { runTool } from './run-tool.js'

export class MountedDisk {
  readonly #directory: string
  #nbdfuse: ChildProcess | undefined
  #device: string | undefined
  #isMounted = false

  /** @param directory - for mount points; is made, and stays */
  constructor(directory: string) {
    this.#directory = directory
  }

  /** Of the loop device. */
  get device(): string {
    if (this.#device === undefined) throw new Error('the disk is not open')
    return this.#device
  }

  /** Makes a block device of what is at the URI. */
  async open(uri: string): Promise<void> {
    const fuse = join(this.#directory, 'fuse')
    mkdirSync(fuse, { recursive: true })
    const ready = join(this.#directory, 'nbdfuse.pid')
    rmSync(ready, { force: true })
    const child = spawn('nbdfuse', ['--pidfile', ready, fuse, uri], { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#nbdfuse = child
    let talk = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (talk += text))
    // The pidfile appears once it serves.
    const started = runTool('bash', '-c', `until [[ -s ${ready} ]]; do sleep 0.02; done`)
    const ended = once(child, 'exit').then(() => {
      throw new Error(`nbdfuse ended: ${talk}`)
    })
    ended.catch(() => undefined)
    await Promise.race([started, ended])
    const loop = await runTool('losetup', '--find', '--show', '--direct-io=off', join(fuse, 'nbd'))
    this.#device = loop.stdout.trim()
  }

  /** @returns where */
  async mount(): Promise<string> {
    const files = join(this.#directory, 'files')
    mkdirSync(files, { recursive: true })
    await runTool('mount', '-t', 'ext4', this.device, files)
    this.#isMounted = true
    return files
  }

  async unmount(): Promise<void> {
    await runTool('umount', join(this.#directory, 'files'))
    this.#isMounted = false
  }

  /** May be called twice, and in any state. */
  async close(): Promise<void> {
    if (this.#isMounted) await this.unmount()
    if (this.#device !== undefined) {
      // Its cache goes to the disk first: losetup does not wait for that.
      await runTool('blockdev', '--flushbufs', this.#device)
      await runTool('losetup', '--detach', this.#device)
    }
    this.#device = undefined
    const child = this.#nbdfuse
    this.#nbdfuse = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    const fuse = join(this.#directory, 'fuse')
    // Whoever looks at all block devices just then keeps the loop device, and so the file under it, open a little longer.
    const unmount = `for n in {1..1200}; do fusermount3 -u ${fuse} 2>/dev/null && exit; sleep 0.05; done`
    await runTool('bash', '-c', `${unmount}; fusermount3 -u ${fuse} || { fusermount3 -uz ${fuse}; exit 1; }`)
    await ended
  }
}
