/** Reads an export at one host, past every client. */
import type { SimReply } from '@cloudfs/native'
import type { Cluster } from './cluster.js'
import type { Host } from './host.js'

/** What asks here is no client. */
const READER = 0

/** @returns its bytes, or those of the range, or why there are none */
export async function readExport(
  cluster: Cluster,
  host: Host,
  name: string,
  withinNs: number,
  range?: { readonly offset: number; readonly length: number },
): Promise<Buffer | string> {
  const found = host.core?.openExport(name) ?? host.core?.openExport(`replica:${name}`)
  if (found === undefined) return host.core?.openRefusal(name) ?? 'the host is down'
  let reply: SimReply | undefined
  const { listener } = cluster
  cluster.listener = {
    onVolume: () => undefined,
    onDown: () => undefined,
    onLoss: () => undefined,
    onRestart: () => undefined,
    onAnswered: () => undefined,
    ...listener,
    onReply: (given) => {
      if (given.client === READER) reply = given
      else listener?.onReply(given)
    },
  }
  host.give((core) => {
    core.submit({
      kind: 'read',
      client: READER,
      request: 1,
      target: found.handle,
      ...(range ?? { offset: 0, length: found.sizeBytes }),
    })
  })
  await cluster.runTill(() => reply !== undefined, withinNs)
  cluster.listener = listener
  host.core?.closeExport(found.handle)
  if (reply === undefined) return 'no answer'
  if (reply.error !== 0) return `errno ${String(reply.error)}`
  return Buffer.concat(reply.pieces.map((piece) => piece.data ?? Buffer.alloc(piece.bytes)))
}
