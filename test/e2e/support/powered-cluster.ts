/**
 * A networked cluster whose nodes have file systems of their own, which get full, and forget at a power cut what no sync
 * covers: by ext4's own shutdown (`EXT4_IOC_SHUTDOWN`), with which file systems are tested for that, too. A node that starts
 * behind it finds another boot of its kernel.
 */
import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NetworkedCluster } from './networked-cluster.js'
import { runTool } from './run-tool.js'

/** Of a node: a sparse file. */
const DISK_SIZE = '512M'
const BOOT_ID = '/proc/sys/kernel/random/boot_id'
/** With the id of the process: what a killed run has left is told from what is in use. */
const PREFIX = join(tmpdir(), 'cloudfs-disks-')
/** EXT4_IOC_SHUTDOWN, flag 2: from now on nothing is written, not even the journal. */
const SHUT_DOWN =
  'open my $place, "<", $ARGV[0] or die; my $flag = pack "L", 2; ioctl($place, 0x8004587D, $flag) or die $!'

export class PoweredCluster extends NetworkedCluster {
  readonly #disks = mkdtempSync(`${PREFIX}${String(process.pid)}-`)

  /** Fills a node's file system, to its last byte. */
  async fill(index: number): Promise<void> {
    await runTool('bash', '-c', `! dd if=/dev/zero of=${this.#ballast(index)} bs=4k 2> /dev/null`)
  }

  empty(index: number): void {
    rmSync(this.#ballast(index))
  }

  /** Cuts the power of all nodes at one moment: their processes are gone, and what they had not synced. */
  async cutPower(): Promise<void> {
    const indexes = this.nodes.map(({ index }) => index)
    await this.reload(1)
    const pids = this.nodes.flatMap(({ replicatorPid, enginePid }) => [replicatorPid, enginePid])
    const signal = (name: NodeJS.Signals): void => {
      for (const pid of pids) if (pid !== undefined) process.kill(pid, name)
    }
    signal('SIGSTOP')
    for (const index of indexes) await runTool('perl', '-e', SHUT_DOWN, this.place(index))
    // Their files cannot be read any more, not even those that name them.
    signal('SIGKILL')
    for (const index of indexes) {
      await unmount(this.place(index))
      await this.#mount(index)
      this.#boot(index)
    }
  }

  override async dispose(): Promise<void> {
    try {
      await super.dispose()
    } finally {
      await takeDown(this.#disks)
    }
  }

  protected override async prepare(count: number): Promise<void> {
    await removeLeftovers()
    // Mount namespaces of others get copies of what is mounted: where it is shared, they lose it when it is unmounted.
    await runTool('mount', '--bind', this.#disks, this.#disks)
    await runTool('mount', '--make-shared', this.#disks)
    for (let index = 1; index <= count; index++) {
      const image = join(this.#disks, `${String(index)}.img`)
      await runTool('truncate', `--size=${DISK_SIZE}`, image)
      await runTool('mkfs.ext4', '-q', '-b', '4096', '-m', '0', image)
      mkdirSync(this.place(index))
      await this.#mount(index)
      this.#boot(index)
    }
  }

  protected override place(index: number): string {
    return join(this.#disks, String(index))
  }

  protected override within(index: number): string[] {
    const become = `mount --bind "$0" ${BOOT_ID} && exec "$@"`
    return [...super.within(index), 'bash', '-c', become, this.#bootFile(index)]
  }

  #ballast(index: number): string {
    return join(this.place(index), 'ballast')
  }

  #bootFile(index: number): string {
    return join(this.#disks, `${String(index)}.boot`)
  }

  #boot(index: number): void {
    writeFileSync(this.#bootFile(index), `${randomUUID()}\n`)
  }

  async #mount(index: number): Promise<void> {
    await runTool('mount', '-o', 'loop', join(this.#disks, `${String(index)}.img`), this.place(index))
  }
}

/** A process that has just been killed may not have closed its files yet. */
async function unmount(place: string): Promise<void> {
  await runTool('timeout', '60', 'bash', '-c', 'until umount "$0" 2> /dev/null; do sleep 0.05; done', place)
}

/** Unmounts all that is in a run's directory, and removes it. */
async function takeDown(directory: string): Promise<void> {
  const places = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((place) => `${place}/`.startsWith(`${directory}/`))
  // The newest first.
  for (const place of places.reverse()) await unmount(place)
  rmSync(directory, { recursive: true, force: true })
}

async function removeLeftovers(): Promise<void> {
  for (const name of readdirSync(tmpdir())) {
    const owner = new RegExp('^cloudfs-disks-(\\d+)-').exec(name)?.[1]
    if (owner !== undefined && !isAlive(Number(owner))) await takeDown(join(tmpdir(), name))
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
