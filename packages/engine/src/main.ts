/** The `cloudfs-engine` program. */
import { join } from 'node:path'
import { isCloudfsError, LOG_BYTES_MAX, outliveFailures, UsageError } from '@cloudfs/interface'
import { pino } from 'pino'
import { Engine } from './engine.js'
import { formatStore } from './format-store.js'
import { parseOptions, type ServeOptions, USAGE } from './options.js'
import { takeRunDirectory } from './run-directory.js'

/** Exit codes: 0 done, 1 it failed (the code is on stderr), 2 the command line was not understood. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(args)
    switch (options.command) {
      case 'help':
        process.stdout.write(USAGE)
        return 0
      case 'format': {
        const identity = await formatStore(options)
        process.stdout.write(`${JSON.stringify(identity)}\n`)
        return 0
      }
      case 'serve':
        await serve(options)
        return 0
    }
  } catch (error) {
    const code = isCloudfsError(error) ? error.code : 'ERR_INTERNAL'
    const text = isCloudfsError(error) ? error.message : error instanceof Error ? error.stack : String(error)
    process.stderr.write(`cloudfs-engine: ${code}: ${text ?? ''}\n`)
    return error instanceof UsageError ? 2 : 1
  }
}

/** Before what could not be logged is tried again. */
const LOG_RETRY_MS = 1_000

/** Serves until SIGTERM or SIGINT; a second one ends at once, as a crash would. */
async function serve(options: ServeOptions): Promise<void> {
  const stdout = pino.destination({ fd: 1, sync: false, maxLength: LOG_BYTES_MAX })
  const log = pino(
    { level: options.logLevel, base: null },
    outliveFailures(stdout, (act) => setTimeout(act, LOG_RETRY_MS).unref()),
  )
  const ended = new Promise<void>((resolve) => {
    const end = (signal: NodeJS.Signals): void => {
      log.info({ signal }, 'stopping')
      resolve()
      process.once('SIGTERM', exitAtOnce).once('SIGINT', exitAtOnce)
    }
    process.once('SIGTERM', end).once('SIGINT', end)
  })
  takeRunDirectory(options.run)
  const engine = await Engine.start({
    stores: options.stores,
    socketPath: options.socket ?? join(options.run, 'engine.sock'),
    followsPath: join(options.run, 'follows.json'),
    params: options.params,
    ...(options.scrubBytesPerSecond === undefined
      ? {}
      : { scrubBytesPerSecond: options.scrubBytesPerSecond }),
    log,
    ...(options.nbd === undefined ? {} : { nbd: options.nbd }),
    ...(options.http === undefined ? {} : { http: options.http }),
  })
  log.info({ pid: process.pid, stores: engine.stores }, 'serving')
  await ended
  await engine.stop()
  log.info('stopped')
}

function exitAtOnce(): void {
  process.exit(1)
}
