/** A server process of somebody else's: started, waited for, and ended by signal. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
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

interface ServersPlan {
  /** Theirs alone; made for them, and removed with them. */
  readonly directory: string
  /** Starts them one behind the other; each is put into `servers` as it starts, whatever comes after. */
  readonly start: (servers: Server[]) => Promise<string>
  /** Ends what they leave behind. */
  readonly endRest?: () => void
  /** Of what they leave behind. */
  readonly restPids?: () => readonly number[]
}

/** Several servers that serve one disk together. @throws what one fails with; all have ended then */
export async function startServers({
  directory,
  start,
  endRest = () => undefined,
  restPids = () => [],
}: ServersPlan): Promise<{ uri: string; pids: readonly number[]; stop(): Promise<void> }> {
  mkdirSync(directory, { recursive: true })
  const servers: Server[] = []
  const forget = atEnd(endRest)
  const stop = async (): Promise<void> => {
    for (const server of [...servers].reverse()) await server.stop()
    endRest()
    forget()
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    const uri = await start(servers)
    return { uri, pids: [...servers.map(({ pid }) => pid), ...restPids()], stop }
  } catch (error) {
    await stop()
    throw error
  }
}
