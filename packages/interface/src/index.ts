/**
 * Contracts, ids, units and errors that every other package shares; imports nothing.
 */
export type { Brand } from './brand.js'
export * from './core-messages.js'
export * from './engine-messages.js'
export * from './errors.js'
export { bytesToHex, hexToBytes } from './hex.js'
export * from './history.js'
export * from './ids.js'
export { JoinedSignal } from './joined-signal.js'
export { AddressInUseError, listenErrorOf, ListenError } from './listen-error.js'
export { LineReader, LineTooLongError } from './line-reader.js'
export { LOG_BYTES_MAX, type LogStream, outliveFailures } from './log-stream.js'
export * from './standing.js'
export * from './units.js'
export { writeTogether } from './write-together.js'
