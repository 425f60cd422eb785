/**
 * A node's configuration: a JSON file, environment variables over it, flags over both. One table of keys makes all three,
 * so they cannot differ: `httpPort` in the file is `CLOUDFS_HTTP_PORT` and `--http-port`.
 */
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { HostId, parseBytes } from '@cloudfs/interface'
import { z } from 'zod'
import { ConfigError } from './errors.js'
import { nearest } from './nearest.js'

export const HTTP_PORT_DEFAULT = 8091
const ENGINE_HTTP_PORT_DEFAULT = 8090
const PEER_PORT_DEFAULT = 8092
const NBD_PORT_DEFAULT = 10809

/** Of a store that is made at the first start. */
const STORE_SIZE_DEFAULT = '16G'
const SEGMENT_SIZE_DEFAULT = '32M'
const SCRUB_RATE_DEFAULT = '4M'
/** `map_bytes_max` of native/src/core/base/parameters.h. */
const MAP_MEMORY_DEFAULT = '512M'
/** Below this a checkpoint's own pages are most of it. */
const MAP_MEMORY_MIN = 16 * 1024 ** 2

const loopback = '127.0.0.1'
const port = z.coerce.number().int().min(0).max(65535)
const address = z.string().min(1).max(255)
const yes = z.union([z.boolean(), z.enum(['true', 'false']).transform((text) => text === 'true')])
/** `HOST`, `HOST:PORT`, `[V6]:PORT`. */
const peer = z.string().regex(/^(\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+)(:\d{1,5})?$/, 'HOST or HOST:PORT')
const quantity = z.union([z.string(), z.number()]).transform((value, context) => {
  try {
    return parseBytes(String(value))
  } catch {
    context.issues.push({ code: 'custom', message: 'a size, as in 16G', input: value })
    return z.NEVER
  }
})
const list = z.union([
  z.array(peer),
  z.string().transform((text, context) => {
    const parts = text.split(/[\s,]+/).filter((part) => part !== '')
    for (const part of parts) {
      if (!peer.safeParse(part).success)
        context.issues.push({ code: 'custom', message: `not HOST or HOST:PORT: ${part}`, input: text })
    }
    return parts
  }),
])

const schema = z.strictObject({
  hostId: z
    .string()
    .refine((text) => HostId.is(text.toLowerCase()), 'a host id: 40 hex digits')
    .transform((text) => HostId.parse(text))
    .optional(),
  directory: z.string().min(1).default('/var/lib/cloudfs'),
  store: z.string().min(1).optional(),
  storeSize: quantity.prefault(STORE_SIZE_DEFAULT),
  segmentSize: quantity.prefault(SEGMENT_SIZE_DEFAULT),
  runDirectory: z.string().min(1).optional(),
  zone: z
    .string()
    .max(255)
    .regex(/^([\w.-]+(\/[\w.-]+)*)?$/, 'parts of letters, digits, dots, dashes, separated by /')
    .default(''),
  peers: list.default([]),
  mdns: yes.default(false),
  dht: yes.default(true),
  privateNetworkKey: z.string().min(1).optional(),
  httpHost: address.default(loopback),
  httpPort: port.default(HTTP_PORT_DEFAULT),
  engineHttpHost: address.default(loopback),
  engineHttpPort: port.default(ENGINE_HTTP_PORT_DEFAULT),
  peerHost: address.default(loopback),
  peerPort: port.default(PEER_PORT_DEFAULT),
  nbdHost: address.default(loopback),
  nbdPort: port.default(NBD_PORT_DEFAULT),
  replaceAfterSeconds: z.coerce.number().min(1).max(31_536_000).default(600),
  scrubRate: quantity.prefault(SCRUB_RATE_DEFAULT),
  mapMemory: quantity.refine((bytes) => bytes >= MAP_MEMORY_MIN, 'at least 16M').prefault(MAP_MEMORY_DEFAULT),
  logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
})

type Parsed = z.output<typeof schema>
export type ConfigKey = keyof Parsed

/** A whole configuration: paths are absolute, sizes are bytes. */
export interface Config extends Omit<Parsed, 'store' | 'runDirectory'> {
  readonly store: string
  readonly runDirectory: string
}

/** What each key is, for `--help` and docs/operations.md. */
export const CONFIG_KEYS: Readonly<Record<ConfigKey, string>> = {
  hostId: 'the id of this host, 40 hex digits; left out: the hash of its key',
  directory: 'the directory for all the node keeps',
  store: 'the log: a directory, block device or big file; left out: store in the directory',
  storeSize: 'the size of a store made at the first start',
  segmentSize: 'the segment size of a store made at the first start',
  runDirectory: 'sockets of attached volumes and the process ids; left out: run in the directory',
  zone: 'the failure domain, outermost part first, as in berlin/rack4',
  peers: 'some other nodes of the cluster, HOST or HOST:PORT (their httpPort)',
  mdns: 'find nodes of the local network by multicast',
  dht: 'take part in the distributed hash table of volumes',
  privateNetworkKey: 'a file of 32 bytes that all nodes share; closes the cluster to strangers',
  httpHost: 'the address of the HTTP API',
  httpPort: 'the port of the HTTP API; 0 = any',
  engineHttpHost: "the address of the engine's HTTP and streams",
  engineHttpPort: "the port of the engine's HTTP and streams; 0 = any",
  peerHost: 'the address for other replicators',
  peerPort: 'the port for other replicators; 0 = any',
  nbdHost: 'the address of NBD over TCP',
  nbdPort: 'the port of NBD over TCP; 0 = any',
  replaceAfterSeconds: 'a replica whose host has been gone this long is made anew at another',
  scrubRate: 'bytes a second that the store reads to find and repair rot; 0 = not by itself',
  mapMemory: 'for pages of the map in memory: an index page for each MiB of a volume that is in use',
  logLevel: 'trace, debug, info, warn, error, fatal or silent',
}

/** `httpPort` as `--http-port`. */
export function flagOf(key: ConfigKey): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

/** `httpPort` as `CLOUDFS_HTTP_PORT`. */
export function variableOf(key: ConfigKey): string {
  return `CLOUDFS_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
}

export interface ConfigSources {
  /** A JSON file; `CLOUDFS_CONFIG` if left out, none if that is not set. */
  readonly file?: string
  readonly environment?: Readonly<Record<string, string | undefined>>
  readonly flags?: Partial<Record<ConfigKey, unknown>>
}

/** Puts the sources together. @throws {ConfigError} names the key, the source and what would be right */
export function loadConfig({ file, environment = {}, flags = {} }: ConfigSources): Config {
  const path = file ?? environment['CLOUDFS_CONFIG']
  const fromFile = path === undefined ? {} : readConfigFile(path)
  const fromEnvironment: Record<string, unknown> = {}
  for (const key of keys) {
    const value = environment[variableOf(key)]
    if (value !== undefined && value !== '') fromEnvironment[key] = value
  }
  const given = Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined))
  const merged = { ...fromFile, ...fromEnvironment, ...given }
  const parsed = schema.safeParse(merged)
  if (!parsed.success) throw refusal(parsed.error, merged, { path, fromEnvironment, given })
  const directory = resolve(parsed.data.directory)
  return {
    ...parsed.data,
    directory,
    store: resolve(parsed.data.store ?? join(directory, 'store')),
    runDirectory: resolve(parsed.data.runDirectory ?? join(directory, 'run')),
  }
}

const keys = Object.keys(CONFIG_KEYS) as ConfigKey[]

function readConfigFile(path: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw new ConfigError(`${path}: ${cause instanceof Error ? cause.message : 'cannot be read'}`, { cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ConfigError(`${path}: not a JSON object`)
  }
  for (const key of Object.keys(value)) {
    if (keys.some((known) => known === key)) continue
    const meant = nearest(key, keys)
    const hint = meant === undefined ? `there are ${keys.join(', ')}` : `is ${meant} meant?`
    throw new ConfigError(`${path}: no such key: ${key}; ${hint}`, { key, nearest: meant })
  }
  return value as Record<string, unknown>
}

function refusal(
  error: z.ZodError,
  merged: Record<string, unknown>,
  from: { path: string | undefined; fromEnvironment: object; given: object },
): ConfigError {
  const issue = error.issues[0]
  const key = String(issue?.path[0] ?? '') as ConfigKey
  const source =
    key in from.given ? flagOf(key) : key in from.fromEnvironment ? variableOf(key) : (from.path ?? 'default')
  const value = JSON.stringify(merged[key])
  return new ConfigError(`${source}: ${key} cannot be ${value}: ${issue?.message ?? ''}`, {
    key,
    cause: error,
  })
}
