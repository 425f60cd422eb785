/**
 * A Linux guest under QEMU: Debian's cloud kernel, and busybox with one shell script. Its disk is a volume, attached by the
 * very options that `cloudfs attach` prints. What it says comes over its serial line.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { connect, type Socket } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { runTool } from './run-tool.js'

const MODULES_DIRECTORY = '/lib/modules'
/** What a disk on virtio needs, and the kernel does not have built in; each brings those it depends on. */
const MODULES = ['drivers/virtio/virtio_pci', 'drivers/block/virtio_blk']
const MEMORY_MIB = 192
/** How often QEMU's monitor is looked for. */
const MONITOR_POLL_MS = 5
const MIGRATION_POLL_MS = 50
const BUSYBOX = '/bin/busybox'

/** Mounts what every program expects, loads the modules, runs the script, and turns the machine off. */
const INIT = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /disk /bin
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module; done
if sh -eu /script; then
  dmesg | grep -i 'i/o error' || echo 'guest: done'
else
  echo 'guest: failed'
  dmesg | tail -n 20
fi
sync
poweroff -f
`

/** A guest's work: it writes `ticks` files, each on the disk before it says so, and reads them all from the disk in the end. */
export function tickingScript(ticks: number): string {
  return `
mount -t ext4 /dev/vda /disk
mkdir /disk/ticks
for n in $(seq 1 ${String(ticks)}); do
  dd if=/dev/urandom of=/disk/ticks/$n bs=32k count=4 conv=fsync 2> /dev/null
  md5sum /disk/ticks/$n >> /disk/sums
  echo "guest: tick $n."
  sleep 0.05
done
sync
echo 3 > /proc/sys/vm/drop_caches
md5sum -s -c /disk/sums
umount /disk
`
}

export class GuestImage {
  readonly #kernel: string
  readonly #directory: string

  private constructor(kernel: string, directory: string) {
    this.#kernel = kernel
    this.#directory = directory
  }

  /** Collects kernel, modules and busybox below `directory`. @throws if Debian's kernel is not installed */
  static prepare(directory: string): GuestImage {
    const release = readdirSync(MODULES_DIRECTORY).find((name) => name.endsWith('-cloud-amd64'))
    if (release === undefined || !existsSync(BUSYBOX)) {
      throw new Error('a guest needs linux-image-cloud-amd64 and busybox-static: run scripts/setup-debian')
    }
    const root = join(directory, 'root')
    for (const each of ['bin', 'modules']) mkdirSync(join(root, each), { recursive: true })
    copyFileSync(BUSYBOX, join(root, 'bin/busybox'))
    symlinkSync('busybox', join(root, 'bin/sh'))
    const order = moduleOrder(join(MODULES_DIRECTORY, release))
    for (const path of order) copyFileSync(path, join(root, 'modules', basename(path)))
    writeFileSync(join(root, 'modules/order'), order.map((path) => `${basename(path)}\n`).join(''))
    writeFileSync(join(root, 'init'), INIT)
    chmodSync(join(root, 'init'), 0o755)
    return new GuestImage(`/boot/vmlinuz-${release}`, directory)
  }

  /** Boots a guest that runs `script`. @param disk - options of QEMU, as `cloudfs attach --json` gives them */
  async boot(name: string, script: string, disk: readonly string[]): Promise<Guest> {
    const root = join(this.#directory, 'root')
    writeFileSync(join(root, 'script'), script)
    await runTool(
      'bash',
      '-c',
      `cd ${root} && find . | cpio -o -H newc --quiet | gzip -1 > ${this.#archive(name)}`,
    )
    return this.#start(name, name, disk)
  }

  /** A machine to which one that was booted by that name can migrate, over a unix socket at `path`. */
  receive(name: string, disk: readonly string[], path: string): Promise<Guest> {
    return this.#start(name, `${name}-moved`, [...disk, '-incoming', `unix:${path}`])
  }

  #archive(name: string): string {
    return join(this.#directory, `${name}.cpio.gz`)
  }

  async #start(name: string, machine: string, options: readonly string[]): Promise<Guest> {
    const monitor = join(this.#directory, `${machine}.qmp`)
    const child = spawn(
      'qemu-system-x86_64',
      [
        ...['-accel', 'tcg', '-cpu', 'max', '-m', `${String(MEMORY_MIB)}M`],
        ...['-nodefaults', '-nographic', '-no-reboot'],
        ...['-serial', 'stdio', '-kernel', this.#kernel, '-initrd', this.#archive(name)],
        ...['-append', 'console=ttyS0 quiet panic=-1'],
        ...['-qmp', `unix:${monitor},server=on,wait=off`],
        ...options,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    return new Guest(child, await Monitor.connect(child, monitor))
  }
}

/** QEMU's: what it tells of itself, and takes commands by. A disk that fails is told: `BLOCK_IO_ERROR`, then `STOP`. */
class Monitor {
  readonly events: string[] = []
  readonly #socket: Socket
  readonly #waiting: ((answer: QmpAnswer) => void)[] = []

  private constructor(socket: Socket) {
    this.#socket = socket
    const lines = createInterface(socket).on('error', () => undefined)
    lines.on('line', (line) => {
      const message = JSON.parse(line) as QmpAnswer & { readonly event?: string; readonly QMP?: object }
      if (message.event !== undefined) this.events.push(message.event)
      else if (message.QMP === undefined) this.#waiting.shift()?.(message)
    })
  }

  static async connect(child: ChildProcess, path: string): Promise<Monitor> {
    while (!existsSync(path)) {
      if (child.exitCode !== null) throw new Error(`QEMU ended with ${String(child.exitCode)}`)
      await delay(MONITOR_POLL_MS)
    }
    const socket = connect(path)
    socket.on('error', () => undefined)
    const monitor = new Monitor(socket)
    await monitor.execute('qmp_capabilities')
    return monitor
  }

  /** Answers come in the order of the commands. */
  async execute(command: string, args: object = {}): Promise<unknown> {
    const answer = await new Promise<QmpAnswer>((resolve) => {
      this.#waiting.push(resolve)
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`)
    })
    if (answer.error !== undefined) throw new Error(`${command}: ${JSON.stringify(answer.error)}`)
    return answer.return
  }
}

interface QmpAnswer {
  readonly return?: unknown
  readonly error?: object
}

export class Guest {
  readonly #child: ChildProcess
  readonly #ended: Promise<number | string>
  readonly #waiting = new Set<() => void>()
  readonly #monitor: Monitor
  /** All that came over the serial line, and what QEMU said. */
  console = ''
  /** When the console was how long. */
  readonly #heard: { readonly atMs: number; readonly length: number }[] = []

  constructor(child: ChildProcess, monitor: Monitor) {
    this.#child = child
    this.#monitor = monitor
    const take = (text: string): void => {
      this.console += text
      this.#heard.push({ atMs: performance.now(), length: this.console.length })
      for (const look of [...this.#waiting]) look()
    }
    child.stdout?.setEncoding('utf8').on('data', take)
    child.stderr?.setEncoding('utf8').on('data', take)
    this.#ended = new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => {
        resolve(code ?? String(signal))
        for (const look of [...this.#waiting]) look()
      })
    })
    this.#ended.catch(() => undefined)
  }

  /** What its monitor told, by name. */
  get events(): readonly string[] {
    return this.#monitor.events
  }

  /** Moves it, running, to the machine that listens at `path`. */
  async migrate(path: string): Promise<void> {
    await this.#monitor.execute('migrate', { uri: `unix:${path}` })
    for (;;) {
      const { status } = (await this.#monitor.execute('query-migrate')) as { readonly status: string }
      if (status === 'completed') return
      if (/failed|cancelled/.test(status)) throw new Error(`migration ${status}:\n${this.console}`)
      await delay(MIGRATION_POLL_MS)
    }
  }

  /** Resolves once the guest has said `text`. @throws with the console if it ends before */
  async says(text: string): Promise<void> {
    let hasEnded = false
    const ended = this.#ended.then(() => {
      hasEnded = true
    })
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        if (this.console.includes(text)) resolve()
        else if (hasEnded) reject(new Error(`the guest ended and did not say ${text}:\n${this.console}`))
        else return
        this.#waiting.delete(look)
      }
      this.#waiting.add(look)
      void ended.then(look, reject)
      look()
    })
  }

  /** When the guest said `text`, by this process's clock. */
  saidAtMs(text: string): number {
    const at = this.console.indexOf(text)
    const heard = this.#heard.find(({ length }) => length >= at + text.length)
    if (at < 0 || heard === undefined) throw new Error(`the guest did not say ${text}:\n${this.console}`)
    return heard.atMs
  }

  /** Resolves when the guest has turned itself off. @throws with the console if its script failed */
  async done(): Promise<void> {
    const code = await this.#ended
    if (code === 0 && this.console.includes('guest: done')) return
    throw new Error(`the guest ended with ${String(code)}:\n${this.console}`)
  }

  /** Ends it as a power cut does, if it still runs. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended.catch(() => undefined)
  }
}

/** Paths of the modules wanted and those they depend on, in an order in which they load. */
function moduleOrder(directory: string): string[] {
  const dependencies = new Map(
    readFileSync(join(directory, 'modules.dep'), 'utf8')
      .split('\n')
      .map((line) => {
        const [path = '', rest = ''] = line.split(':')
        return [path, rest.trim().split(' ').filter(Boolean)] as const
      }),
  )
  const order: string[] = []
  const add = (path: string): void => {
    // modules.dep has the nearest first: the last must be loaded first.
    for (const each of (dependencies.get(path) ?? []).toReversed()) add(each)
    const whole = join(directory, path)
    if (!order.includes(whole)) order.push(whole)
  }
  for (const wanted of MODULES) {
    const path = [...dependencies.keys()].find(
      (each) =>
        dirname(each) === `kernel/${dirname(wanted)}` && basename(each).startsWith(`${basename(wanted)}.ko`),
    )
    if (path !== undefined) add(path)
  }
  return order
}
