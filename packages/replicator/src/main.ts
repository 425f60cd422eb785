/** Runs a node in this process, in the foreground. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Config } from './config.js'
import { logOf } from './log.js'
import { ReplicatorNode } from './node.js'

/** How soon the end of the engine is noticed; its parent is not this process, so nobody is told. */
const ENGINE_POLL_MS = 20

const loopbackAddresses = /^(127\.|::1$|localhost$)/

/**
 * Serves until SIGTERM or SIGINT. SIGTERM (an upgrade, a service manager) leaves the engine serving; SIGINT, which is
 * Ctrl-C at a terminal, ends it too.
 */
export async function runNode(config: Config): Promise<void> {
  const log = logOf(config)
  for (const key of ['httpHost', 'peerHost', 'nbdHost', 'engineHttpHost'] as const) {
    if (!loopbackAddresses.test(config[key])) {
      log.warn(
        { [key]: config[key] },
        'listens beyond this machine: whoever reaches the port is not checked yet',
      )
    }
  }
  const signalled = new Promise<NodeJS.Signals>((resolve) => {
    process.once('SIGTERM', resolve).once('SIGINT', resolve)
  })
  const node = await ReplicatorNode.start(config, log)
  log.info({ host: node.host, httpPort: node.httpPort, pid: process.pid }, 'serving')
  const signal = await signalled
  log.info({ signal }, 'stopping')
  // A second signal ends at once, as a crash would.
  process.once('SIGTERM', exitAtOnce).once('SIGINT', exitAtOnce)
  await node.close()
  if (signal === 'SIGINT') await endEngine(config)
  log.info('stopped')
}

/** Resolves when it has ended: in a container, whatever still runs goes with this process. */
async function endEngine({ runDirectory }: Config): Promise<void> {
  let pid: number
  try {
    pid = Number(readFileSync(join(runDirectory, 'engine.pid'), 'utf8'))
    process.kill(pid, 'SIGTERM')
  } catch {
    // It has ended already.
    return
  }
  while (isRunning(pid)) await delay(ENGINE_POLL_MS)
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

function exitAtOnce(): void {
  process.exit(1)
}
