/** Where a node says what it does. */
import { type Logger, pino } from 'pino'
import type { Config } from './config.js'

/** Lines of JSON on stdout, from the configured level on. */
export function logOf({ logLevel }: Pick<Config, 'logLevel'>): Logger {
  return pino({ level: logLevel, base: null })
}
