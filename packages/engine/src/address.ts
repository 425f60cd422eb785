/** Where something listens: `HOST:PORT`, `[IPV6]:PORT`. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** @returns undefined if it is none */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  return host === undefined || port > 65535 ? undefined : { host, port }
}
