/** A server process of somebody else's: started, waited for, and ended by signal. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { atEnd } from './ends.js'

const POLL_MS = 20
const START_TIMEOUT_MS = 30_000
/** The end of what a program said that an error repeats, in characters. */
const SAID_MAX = 2000

export interface Server {
  readonly pid: number
  /** Sends SIGTERM and waits for its end. */
  stop(): Promise<void>
}

/**
 * Starts a program that stays in the foreground.
 *
 * @param isUp - whether it serves; asked until it does
 * @throws an Error if it ends first, or does not serve in time; it is ended then
 */
export async function startServer(
  [program = '', ...args]: readonly string[],
  isUp: () => boolean | Promise<boolean>,
): Promise<Server> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = `${said}${text}`.slice(-SAID_MAX)
  })
  const forget = atEnd(() => child.kill('SIGTERM'))
  const server = {
    pid: child.pid ?? 0,
    async stop() {
      forget()
      if (child.exitCode !== null || child.signalCode !== null) return
      const gone = once(child, 'exit')
      child.kill('SIGTERM')
      await gone
    },
  }
  try {
    await up(child, program, isUp, () => said)
    return server
  } catch (error) {
    if (child.pid !== undefined) await server.stop()
    throw error
  }
}

async function up(
  child: ChildProcess,
  program: string,
  isUp: () => boolean | Promise<boolean>,
  said: () => string,
): Promise<void> {
  const failed = new Promise<never>((_, reject) => {
    child.once('error', reject)
    child.once('exit', () => {
      reject(new Error(`${program} ended before it served: ${said()}`))
    })
  })
  const giveUpMs = performance.now() + START_TIMEOUT_MS
  const serving = async (): Promise<void> => {
    while (!(await isUp())) {
      if (performance.now() > giveUpMs) throw new Error(`${program} does not serve: ${said()}`)
      await delay(POLL_MS)
    }
  }
  failed.catch(() => undefined)
  await Promise.race([failed, serving()])
}

/** An NBD server at a unix socket, and how a client names it. */
export async function startNbdServer(
  socket: string,
  command: readonly string[],
): Promise<Server & { readonly uri: string }> {
  const server = await startServer(command, () => existsSync(socket))
  return { ...server, uri: `nbd+unix:///?socket=${socket}` }
}
