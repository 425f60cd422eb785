/**
 * Starts engine processes. They are detached: a replicator that is killed, crashes or is replaced leaves its engine
 * serving, and the next one finds it by its control socket.
 */
import { execFile, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type { HostId } from '@cloudfs/interface'
import type { Config } from './config.js'
import { engineProgram as program } from './engine-program.js'
import { hostAndPort } from './engine-address.js'
import { EngineStartError } from './errors.js'

/** What of an engine's log belongs in an error. */
const LOG_LINES_MAX = 3

/** A clean stop syncs what was written; one that takes longer hangs, and loses nothing by being killed. */
const STOP_TIMEOUT_MS = 30_000

/**
 * A young heap of this many MiB: the engine's JavaScript is idle mostly, and memory it does not use is memory of the host. With 1 a tenth
 * of the time in which many volumes get another primary goes into collecting it.
 */
const SEMI_SPACE_MIB = 4

export function controlSocketOf({ runDirectory }: Config): string {
  return join(runDirectory, 'engine.sock')
}

/** Where the engine writes what it has to say. */
function engineLogOf({ directory }: Config): string {
  return join(directory, 'engine.log')
}

/** An engine that was started here; it may end long after this process. */
export interface StartedEngine {
  readonly pid: number | undefined
  /** Whether it has ended, as far as this process knows. */
  hasEnded(): boolean
  /** Stops it cleanly; resolves when it has ended. */
  stop(): Promise<void>
}

/** Starts an engine for the node's store, in a session of its own. */
export function startEngine(config: Config): StartedEngine {
  mkdirSync(config.runDirectory, { recursive: true, mode: 0o755 })
  const path = engineLogOf(config)
  mkdirSync(dirname(path), { recursive: true })
  const log = openSync(path, 'a', 0o640)
  try {
    const child = spawn(
      process.execPath,
      [`--max-semi-space-size=${SEMI_SPACE_MIB}`, program, ...argumentsOf(config)],
      {
        detached: true,
        stdio: ['ignore', log, log],
      },
    )
    child.unref()
    let hasEnded = false
    const ended = new Promise<void>((resolve) => {
      const end = (): void => {
        hasEnded = true
        resolve()
      }
      child.once('error', end).once('exit', end)
    })
    return {
      pid: child.pid,
      hasEnded: () => hasEnded,
      async stop() {
        child.kill('SIGTERM')
        const late = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
        await ended
        clearTimeout(late)
      },
    }
  } finally {
    closeSync(log)
  }
}

/** The end of the engine's log, for an error's message. */
export function lastWords(config: Config): string {
  try {
    const lines = readFileSync(engineLogOf(config), 'utf8').trimEnd().split('\n')
    return lines.slice(-LOG_LINES_MAX).join('\n')
  } catch {
    return ''
  }
}

/** Makes an empty store for this host. @throws {EngineStartError} it cannot be made */
export async function formatStore(config: Config, host: HostId): Promise<void> {
  const args = ['format', '--store', config.store, '--size', String(config.storeSize), '--host', host]
  try {
    await promisify(execFile)(process.execPath, [
      program,
      ...args,
      '--segment-size',
      String(config.segmentSize),
    ])
  } catch (cause) {
    const { stderr } = cause as { stderr?: string }
    throw new EngineStartError(`no store can be made at ${config.store}: ${(stderr ?? '').trim()}`, { cause })
  }
}

function argumentsOf(config: Config): string[] {
  return [
    ...['--store', config.store],
    ...['--run', config.runDirectory],
    '--elections',
    ...['--http', hostAndPort(config.engineHttpHost, config.engineHttpPort)],
    ...['--nbd-host', config.nbdHost, '--nbd-port', String(config.nbdPort)],
    ...['--scrub-rate', String(config.scrubRate)],
    ...['--param', `mapBytesMax=${config.mapMemory}`],
    ...['--log-level', config.logLevel],
  ]
}
