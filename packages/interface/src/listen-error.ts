/** Why a port cannot be listened at, as a coded error that names it. */
import { CloudfsError } from './errors.js'

/** A process listens at this address. */
export class AddressInUseError extends CloudfsError {
  readonly code = 'ERR_ADDRESS_IN_USE'
}

/** The operating system refuses to listen at this address; `details.errno` says why. */
export class ListenError extends CloudfsError {
  readonly code = 'ERR_LISTEN'
}

/**
 * @param what - what was to be served there, as in `HTTP`
 * @param cause - what listening failed with: an error of Node's, whose `code` is the errno's name
 */
export function listenErrorOf(
  what: string,
  { host, port }: { readonly host: string; readonly port: number },
  cause: unknown,
): AddressInUseError | ListenError {
  const { code } = cause as { readonly code?: unknown }
  const place = `${host}:${String(port)}`
  if (code === 'EADDRINUSE') {
    return new AddressInUseError(`${what}: a program listens at ${place} already`, { cause, host, port })
  }
  const why = typeof code === 'string' ? code : String(cause)
  return new ListenError(`${what}: cannot listen at ${place}: ${why}`, { cause, host, port, errno: code })
}
