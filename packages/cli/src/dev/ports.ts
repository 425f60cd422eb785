/**
 * Ports for the nodes of a local cluster. They stay its own while its nodes are down, as far as other local clusters go: for each
 * there is a symbolic link to the cluster's directory, which counts for as long as that exists.
 */
import { randomInt } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { ClusterError } from './errors.js'

/** The ports that everything looks at by default; a cluster takes them for its first node if they are free. */
const usualPorts = { httpPort: 8091, enginePort: 8090, peerPort: 8092, nbdPort: 10809 }
const portNames = ['httpPort', 'enginePort', 'peerPort', 'nbdPort'] as const
type Ports = Record<(typeof portNames)[number], number>

/** Below those that the kernel gives to whoever asks for any: what was free stays so for the moment until it is taken. */
const PORT_MIN = 20_000
const PORT_END = 32_000
const TRIES_MAX = 1_000

/** Chooses ports that are free now. Another program may be quicker to take them: `taken` are those of `cluster`, a directory. */
export async function choosePorts(
  mayBeUsual: boolean,
  taken: readonly Ports[],
  cluster: string,
): Promise<Ports> {
  const claims = join(tmpdir(), `cloudfs-dev-ports-${String(userInfo().uid)}`)
  mkdirSync(claims, { recursive: true, mode: 0o700 })
  forgetRemoved(claims)
  const isOwn = (port: number): boolean => isClaimed(join(claims, String(port)), cluster)
  const usual = Object.values(usualPorts)
  // None is claimed unless all are free.
  if (mayBeUsual && (await Promise.all(usual.map(isFree))).every(Boolean) && usual.every(isOwn))
    return usualPorts
  const others = new Set(taken.flatMap((ports) => portNames.map((name) => ports[name])))
  const chosen: number[] = []
  for (let tries = 0; chosen.length < portNames.length; tries++) {
    if (tries === TRIES_MAX) throw new ClusterError('no free ports')
    const port = randomInt(PORT_MIN, PORT_END)
    if (others.has(port) || !(await isFree(port)) || !isOwn(port)) continue
    others.add(port)
    chosen.push(port)
  }
  const [httpPort = 0, enginePort = 0, peerPort = 0, nbdPort = 0] = chosen
  return { httpPort, enginePort, peerPort, nbdPort }
}

/** Only links that lead nowhere go, whatever else is there. */
function forgetRemoved(claims: string): void {
  for (const name of readdirSync(claims)) {
    const path = join(claims, name)
    if (!existsSync(path)) rmSync(path, { force: true })
  }
}

/** @returns whether the cluster has it, from now on or before */
function isClaimed(path: string, cluster: string): boolean {
  try {
    symlinkSync(cluster, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  try {
    return readlinkSync(path) === cluster
  } catch (error) {
    // Its cluster was removed just now; or it is no link, and nobody's.
    if (['ENOENT', 'EINVAL'].includes((error as NodeJS.ErrnoException).code ?? '')) return false
    throw error
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = await tryListen(port)
  await new Promise<void>((closed) => {
    if (server === undefined) closed()
    else
      server.close(() => {
        closed()
      })
  })
  return server !== undefined
}

function tryListen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => {
      resolve(undefined)
    })
    server.listen(port, '127.0.0.1', () => {
      resolve(server)
    })
  })
}
