/**
 * GlusterFS on this machine: a management daemon of its own and a volume of three bricks that are each other's copies, on the
 * disk that is measured; a file in it, given to the client by qemu-nbd through libgfapi, as a hypervisor's QEMU would open it.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ensureInstalled } from './packages.js'
import { type Server, startNbdServer, startServer, startServers } from './server.js'
import type { Target, TargetOptions } from './targets.js'
import { runTool } from './tool.js'

const COPIES = 3
/** Of this machine alone, and none that the tools refuse as `localhost`. */
const ADDRESS = '127.0.0.2'
const PACKAGES = ['glusterfs-server', 'qemu-utils', 'qemu-block-extra']
const PROGRAMS = ['/usr/sbin/glusterd', '/usr/sbin/gluster', '/usr/bin/qemu-nbd', '/usr/bin/qemu-img']

export const GLUSTER_DURABILITY =
  'a write is acknowledged when all three bricks have it (in the page cache); a flush when all three have synced the file'

export async function startGluster(
  { directory, sizeBytes }: TargetOptions,
  say: (line: string) => void,
): Promise<Target> {
  await ensureInstalled(PACKAGES, PROGRAMS, say)
  return startServers({
    directory,
    start: (servers) => start(directory, sizeBytes, servers),
    restPids: () => bricksOf(directory),
    endRest: () => {
      for (const pid of bricksOf(directory)) process.kill(pid, 'SIGTERM')
    },
  })
}

async function start(directory: string, sizeBytes: number, servers: Server[]): Promise<string> {
  const volfile = join(directory, 'glusterd.vol')
  for (const name of ['work', 'run']) mkdirSync(join(directory, name))
  writeFileSync(volfile, configuration(directory))
  const log = join(directory, 'glusterd.log')
  const pid = join(directory, 'glusterd.pid')
  const gluster = (...args: readonly string[]): Promise<string> =>
    runTool('gluster', '--mode=script', ...args)
  const command = [
    'glusterd',
    '--no-daemon',
    `--volfile=${volfile}`,
    `--log-file=${log}`,
    `--pid-file=${pid}`,
  ]
  const isUp = (): Promise<boolean> =>
    gluster('volume', 'list').then(
      () => true,
      () => false,
    )
  servers.push(await startServer(command, isUp))
  const bricks = Array.from({ length: COPIES }, (_, index) => join(directory, `brick${String(index)}`))
  for (const brick of bricks) mkdirSync(brick)
  const places = bricks.map((brick) => `${ADDRESS}:${brick}`)
  await gluster('volume', 'create', 'bench', 'replica', String(COPIES), ...places, 'force')
  await gluster('volume', 'start', 'bench')
  const image = `gluster://${ADDRESS}/bench/disk.raw`
  await runTool('qemu-img', 'create', '-q', '-f', 'raw', image, String(sizeBytes))
  const socket = join(directory, 'nbd.sock')
  const nbd = await startNbdServer(socket, [
    'qemu-nbd',
    '-f',
    'raw',
    '-k',
    socket,
    '-t',
    '-e',
    '8',
    '--cache=none',
    image,
  ])
  servers.push(nbd)
  return nbd.uri
}

function configuration(directory: string): string {
  return `volume management
    type mgmt/glusterd
    option working-directory ${directory}/work
    option run-directory ${directory}/run
    option transport-type socket
    option transport.socket.bind-address ${ADDRESS}
    option ping-timeout 0
    option event-threads 1
end-volume
`
}

/** The processes that serve bricks and mind them: the management daemon leaves them behind. */
function bricksOf(directory: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
        return /glusterfsd?$/.test(words[0] ?? '') && words.some((word) => word.includes(directory))
      } catch {
        return false // It has ended.
      }
    })
    .map(Number)
}
