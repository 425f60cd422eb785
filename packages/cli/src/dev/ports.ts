/** Ports for the nodes of a local cluster. */
import { randomInt } from 'node:crypto'
import { createServer, type Server } from 'node:net'
import { ClusterError } from './errors.js'

/** The ports that everything looks at by default; a cluster takes them for its first node if they are free. */
const usualPorts = { httpPort: 8091, enginePort: 8090, peerPort: 8092, nbdPort: 10809 }
const portNames = ['httpPort', 'enginePort', 'peerPort', 'nbdPort'] as const
type Ports = Record<(typeof portNames)[number], number>

/** Below those that the kernel gives to whoever asks for any: what was free stays so for the moment until it is taken. */
const PORT_MIN = 20_000
const PORT_END = 32_000
const TRIES_MAX = 1_000

/** Chooses ports that are free now. Who takes them first has them: `taken` are this cluster's. */
export async function choosePorts(mayBeUsual: boolean, taken: readonly Ports[]): Promise<Ports> {
  if (mayBeUsual && (await Promise.all(Object.values(usualPorts).map(isFree))).every(Boolean))
    return usualPorts
  const others = new Set(taken.flatMap((ports) => portNames.map((name) => ports[name])))
  const chosen: number[] = []
  for (let tries = 0; chosen.length < portNames.length; tries++) {
    if (tries === TRIES_MAX) throw new ClusterError('no free ports')
    const port = randomInt(PORT_MIN, PORT_END)
    if (others.has(port) || !(await isFree(port))) continue
    others.add(port)
    chosen.push(port)
  }
  const [httpPort = 0, enginePort = 0, peerPort = 0, nbdPort = 0] = chosen
  return { httpPort, enginePort, peerPort, nbdPort }
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
