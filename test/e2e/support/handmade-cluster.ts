/** Nodes started one by one with `cloudfs replicator`, as its reader does: nothing of `cloudfs dev`. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const repository = new URL('../../..', import.meta.url).pathname
const BINARIES = join(repository, 'node_modules/.bin')
const PROGRAM = join(repository, 'packages/cli/bin/cloudfs.js')

interface HandmadeNode {
  readonly directory: string
  readonly httpPort: number
  readonly enginePort: number
}

export class HandmadeCluster {
  readonly directory = mkdtempSync(join(tmpdir(), 'cloudfs-handmade-'))
  readonly nodes: HandmadeNode[] = []
  readonly #children: ChildProcess[] = []

  /** Runs `cloudfs replicator` with these arguments and ports of its own; resolves once it serves. */
  async replicator(...args: readonly string[]): Promise<void> {
    const [httpPort = 0, enginePort = 0] = await freePorts(2)
    const directory = join(this.directory, `node${String(this.nodes.length)}`)
    const flags = [
      ...[
        `--directory=${directory}`,
        `--http-port=${String(httpPort)}`,
        `--engine-http-port=${String(enginePort)}`,
      ],
      ...['--peer-port=0', '--nbd-port=0', '--store-size=640M', '--segment-size=8M'],
    ]
    const child = spawn(process.execPath, [PROGRAM, 'replicator', ...args, ...flags], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#children.push(child)
    this.nodes.push({ directory, httpPort, enginePort })
    let log = ''
    await new Promise<void>((resolve, reject) => {
      const take = (text: string): void => {
        log += text
        if (log.includes('"msg":"serving"')) resolve()
      }
      child.stdout.setEncoding('utf8').on('data', take)
      child.stderr.setEncoding('utf8').on('data', take)
      child.once('close', () => {
        reject(new Error(`the replicator ended:\n${log}`))
      })
    })
  }

  /** The run directory of a node. */
  run(index: number): string {
    return join(this.nodes[index]?.directory ?? '', 'run')
  }

  /** Runs a line of a shell whose `cloudfs` asks the first node. */
  async shell(line: string): Promise<string> {
    const env = {
      ...process.env,
      PATH: `${BINARIES}:${process.env['PATH'] ?? ''}`,
      CLOUDFS_NODE: `127.0.0.1:${String(this.nodes[0]?.httpPort)}`,
    }
    const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', line], { env })
    return stdout.trimEnd()
  }

  dispose(): void {
    for (const child of this.#children) child.kill('SIGKILL')
    for (const { directory } of this.nodes) {
      try {
        process.kill(Number(readFileSync(join(directory, 'run/engine.pid'), 'utf8')), 'SIGKILL')
      } catch {
        // It did not come to start one.
      }
    }
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** Ports that the kernel gives to nobody by itself, and `cloudfs dev` does not take. */
async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) {
    const port = randomInt(12_000, 20_000)
    if (!ports.includes(port) && (await isFree(port))) ports.push(port)
  }
  return ports
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => {
      resolve(false)
    })
    server.listen(port, '127.0.0.1', () => {
      server.close(() => {
        resolve(true)
      })
    })
  })
}
