/** Where a node says what it does. */
import { LOG_BYTES_MAX, outliveFailures } from '@cloudfs/interface'
import { type Logger, pino } from 'pino'
import type { Config } from './config.js'

/** Before what could not be written is tried again. */
const RETRY_MS = 1_000

/** Lines of JSON on stdout, from the configured level on. */
export function logOf({ logLevel }: Pick<Config, 'logLevel'>): Logger {
  const stdout = pino.destination({ fd: 1, sync: false, maxLength: LOG_BYTES_MAX })
  return pino(
    { level: logLevel, base: null },
    outliveFailures(stdout, (act) => setTimeout(act, RETRY_MS).unref()),
  )
}
