/** Servers of an NBD disk: ours, with three copies, and those an operator has at hand, with one. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { runTool } from './tool.js'

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

const POLL_MS = 20
const START_TIMEOUT_MS = 10_000
const cloudfs = fileURLToPath(new URL('../../packages/cli/bin/cloudfs.js', import.meta.url))

const Nodes = z.array(z.object({ url: z.string(), enginePid: z.int(), replicatorPid: z.int() })).min(1)
const Attached = z.object({ uri: z.string() })

async function ask(...args: readonly string[]): Promise<unknown> {
  return JSON.parse(await runTool(process.execPath, cloudfs, '--json', ...args))
}

/** A cluster of `copies` nodes on this machine, and a disk on all of them, attached at its primary. */
async function startCloudfs(copies: number, options: TargetOptions): Promise<Target> {
  const stop = async (): Promise<void> => {
    await runTool(process.execPath, cloudfs, 'dev', 'down', `--dir=${options.directory}`)
    rmSync(options.directory, { recursive: true })
  }
  try {
    return { ...(await attachedDisk(copies, options)), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function attachedDisk(
  copies: number,
  { directory, sizeBytes }: TargetOptions,
): Promise<Pick<Target, 'uri' | 'pids' | 'node'>> {
  const storeSize = String(sizeBytes * 4)
  const nodes = Nodes.parse(
    await ask('dev', 'up', `--dir=${directory}`, `--nodes=${String(copies)}`, `--store-size=${storeSize}`),
  )
  const at = nodes[0]?.url.replace('http://', '') ?? ''
  const made = z
    .object({ volume: z.string() })
    .parse(await ask('--node', at, 'newdisk', String(copies), `--size=${String(sizeBytes)}`, '--name=bench'))
  const { primary } = z.object({ primary: z.string() }).parse(await ask('--node', at, 'info', made.volume))
  const hosts = await Promise.all(
    nodes.map(async ({ url }) => {
      const host = (await (await fetch(`${url}/id`)).text()).trim()
      return { url, host }
    }),
  )
  const home = hosts.find(({ host }) => host === primary) ?? hosts[0]
  const { uri } = Attached.parse(
    await ask('--node', home?.url.replace('http://', '') ?? at, 'attach', made.volume),
  )
  const pids = nodes.map(({ enginePid, replicatorPid }) => [enginePid, replicatorPid])
  return { uri, pids: pids.flat(), ...(pids[0] === undefined ? {} : { node: pids[0] }) }
}

async function startNbdkitFile(options: TargetOptions): Promise<Target> {
  const socket = join(options.directory, 'nbd.sock')
  return startServer(socket, options, (file) => ['nbdkit', '-f', '-U', socket, 'file', file])
}

async function startNbdkitMemory(options: TargetOptions): Promise<Target> {
  const socket = join(options.directory, 'nbd.sock')
  const size = String(options.sizeBytes)
  return startServer(socket, options, () => ['nbdkit', '-f', '-U', socket, 'memory', size])
}

async function startQemuNbd(options: TargetOptions): Promise<Target> {
  const socket = join(options.directory, 'nbd.sock')
  const words = ['qemu-nbd', '-f', 'raw', '-k', socket, '-t', '-e', '8', '--cache=none', '--aio=native']
  return startServer(socket, options, (file) => [...words, file])
}

async function startServer(
  socket: string,
  { directory, sizeBytes }: TargetOptions,
  commandOf: (file: string) => readonly string[],
): Promise<Target> {
  mkdirSync(directory, { recursive: true })
  const file = join(directory, 'disk.raw')
  writeFileSync(file, '')
  truncateSync(file, sizeBytes)
  const [program = '', ...args] = commandOf(file)
  const server = spawn(program, args, { stdio: 'ignore' })
  await listening(server, socket)
  return {
    uri: `nbd+unix:///?socket=${socket}`,
    pids: server.pid === undefined ? [] : [server.pid],
    async stop() {
      const gone = once(server, 'exit')
      server.kill('SIGTERM')
      await gone
      rmSync(directory, { recursive: true })
    },
  }
}

async function listening(server: ChildProcess, socket: string): Promise<void> {
  const [program = ''] = server.spawnargs
  const failed = once(server, 'exit').then(() => {
    throw new Error(`${program} ended before it served`)
  })
  const giveUpMs = performance.now() + START_TIMEOUT_MS
  const served = async (): Promise<void> => {
    while (!existsSync(socket)) {
      if (performance.now() > giveUpMs) throw new Error(`${program} does not serve`)
      await delay(POLL_MS)
    }
  }
  await Promise.race([failed, served()])
  failed.catch(() => undefined)
}

export const TARGETS: readonly {
  readonly name: string
  readonly start: (options: TargetOptions) => Promise<Target>
}[] = [
  { name: 'CloudFS, 3 copies', start: (options) => startCloudfs(3, options) },
  { name: 'CloudFS, 1 copy', start: (options) => startCloudfs(1, options) },
  { name: 'nbdkit file, 1 copy', start: startNbdkitFile },
  { name: 'qemu-nbd raw, 1 copy', start: startQemuNbd },
  { name: 'nbdkit memory, no disk', start: startNbdkitMemory },
]
