/**
 * `Promise.withResolvers` for Node 20, which libp2p calls and only Node 22 has. Every file here that imports libp2p
 * imports this one first.
 */
interface Resolvers {
  promise: Promise<unknown>
  resolve: (value: unknown) => void
  reject: (reason?: unknown) => void
}

export function withResolvers(this: PromiseConstructor): Resolvers {
  const made: Partial<Resolvers> = {}
  made.promise = new this((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made as Resolvers
}

if (!('withResolvers' in Promise)) Object.assign(Promise, { withResolvers })
