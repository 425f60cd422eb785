/** Learns that a port is taken before anything depends on it. */
import { createServer } from 'node:net'
import { listenErrorOf } from '@cloudfs/interface'

/**
 * For a port that is listened at only once a store is ready, which may take long: whoever starts the engine is told at
 * once. Another program may take the port later; listening itself is what decides.
 *
 * @throws {AddressInUseError}, {ListenError}
 */
export async function requireFree(
  what: string,
  address: { readonly host: string; readonly port: number },
): Promise<void> {
  if (address.port === 0) return
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      reject(listenErrorOf(what, address, error))
    })
    server.listen({ ...address, exclusive: true }, () => {
      server.close(() => {
        resolve()
      })
    })
  })
}
