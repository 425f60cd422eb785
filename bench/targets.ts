/** Servers of an NBD disk: ours, with three copies, and those an operator has at hand, with one. */
import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { LocalNodes } from './nodes.js'
import { startNbdServer } from './server.js'

export interface Target {
  readonly uri: string
  /** The processes that serve, all copies together. */
  readonly pids: readonly number[]
  /** Of CloudFS: the processes of one node. */
  readonly node?: readonly number[]
  stop(): Promise<void>
}

export interface TargetOptions {
  /** A directory of its own, on the disk that is measured. */
  readonly directory: string
  readonly sizeBytes: number
}

export interface TargetKind {
  readonly name: string
  /** What an acknowledged write and flush are worth. */
  readonly durability: string
  readonly start: (options: TargetOptions, say: (line: string) => void) => Promise<Target>
}

/** A cluster of `copies` nodes on this machine, and a disk on all of them, attached at its primary. */
async function startCloudfs(copies: number, { directory, sizeBytes }: TargetOptions): Promise<Target> {
  const nodes = await LocalNodes.up(directory, copies, sizeBytes * 4)
  const stop = (): Promise<void> => nodes.down()
  try {
    const { uri, primary } = await nodes.disk(sizeBytes, 'bench')
    return { uri, pids: nodes.all.flatMap(({ pids }) => pids), node: primary.pids, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** A program that serves one file, or memory. */
async function startOne(
  { directory, sizeBytes }: TargetOptions,
  commandOf: (socket: string, file: string) => readonly string[],
): Promise<Target> {
  mkdirSync(directory, { recursive: true })
  const file = join(directory, 'disk.raw')
  writeFileSync(file, '')
  truncateSync(file, sizeBytes)
  const socket = join(directory, 'nbd.sock')
  const server = await startNbdServer(socket, commandOf(socket, file))
  return {
    uri: server.uri,
    pids: [server.pid],
    async stop() {
      await server.stop()
      rmSync(directory, { recursive: true })
    },
  }
}

const SYNCED_FLUSH = 'a flush when the file is synced'

export const TARGETS: readonly TargetKind[] = [
  {
    name: 'CloudFS, 3 copies',
    durability:
      'a write is acknowledged when two of three copies have it appended (in the page cache); a flush when two have synced it',
    start: (options) => startCloudfs(3, options),
  },
  {
    name: 'CloudFS, 1 copy',
    durability: 'a write is acknowledged when it is appended (in the page cache); a flush when it is synced',
    start: (options) => startCloudfs(1, options),
  },
  {
    name: 'nbdkit file, 1 copy',
    durability: `a write is acknowledged when the page cache has it; ${SYNCED_FLUSH}`,
    start: (options) => startOne(options, (socket, file) => ['nbdkit', '-f', '-U', socket, 'file', file]),
  },
  {
    name: 'qemu-nbd raw, 1 copy',
    durability: `a write is acknowledged when the disk has it (O_DIRECT); ${SYNCED_FLUSH}`,
    start: (options) =>
      startOne(options, (socket, file) => [
        ...['qemu-nbd', '-f', 'raw', '-k', socket, '-t', '-e', '8', '--cache=none', '--aio=native', file],
      ]),
  },
  {
    name: 'nbdkit memory, no disk',
    durability: 'none',
    start: (options) =>
      startOne(options, (socket) => ['nbdkit', '-f', '-U', socket, 'memory', String(options.sizeBytes)]),
  },
]
