/** The shape of each request: what does not fit is refused before anything acts on it. */
import {
  type EngineVerb,
  HostId,
  MalformedMessageError,
  UnknownVerbError,
  VersionId,
  VolumeId,
} from '@cloudfs/interface'
import { z } from 'zod'
import { parseAddress } from './address.js'
import { UPGRADE_RECORDS, UPGRADE_SESSION } from './http-protocols.js'

const request = z.strictObject({
  id: z.int().nonnegative(),
  verb: z.string().max(64),
  store: z.string().max(4096).optional(),
  args: z.record(z.string(), z.unknown()).default({}),
  payload: z.base64().optional(),
})

const hex = z.string().regex(/^([0-9a-f]{2})*$/, 'hex')
const volume = z.string().refine((text) => VolumeId.is(text), 'a volume id')
/** A volume, or one of its snapshots: `ID`, `ID@NAME`. */
const version = z.string().min(1).max(300)
const versionId = z.string().refine((text) => VersionId.is(text), 'a version id')
const snapshotName = z.string().min(1).max(255)
const hostId = z.string().refine((text) => HostId.is(text), 'a host id')
const epoch = z.strictObject({ counter: z.int().nonnegative(), host: hostId })
const lsn = z.int().nonnegative()
const head = z.strictObject({ epoch, lsn, version: versionId })
const address = z
  .string()
  .max(300)
  .refine((text) => parseAddress(text) !== undefined, 'HOST:PORT')
/** What `follow-key` gave. */
const key = z.string().regex(/^[0-9a-f]{64}$/, '32 bytes in hex')
const stamp = z.string().regex(/^[0-9a-f]{64}$/, '32 bytes in hex')
/** What hides a stamp. */
const pad = z.string().regex(/^[0-9a-f]{64}$/, '32 bytes in hex')
/** A challenge. */
const nonce = z.string().regex(/^[0-9a-f]{32}$/, '16 bytes in hex')
/** Of an attachment's endpoint. */
const session = z.string().regex(/^[0-9a-f]{32}$/, '16 bytes in hex')
const nothing = z.strictObject({})
const mode = z.int().min(0).max(0o777).optional()
const socketPath = z.string().startsWith('/').max(107)

/** Arguments of each verb. */
const verbs = {
  stores: nothing,
  subscribe: nothing,
  serve: z.strictObject({ volume, socket: socketPath, mode }),
  unserve: z.strictObject({ socket: socketPath }),
  listen: z.strictObject({ host: z.string().max(64), port: z.int().min(0).max(65535) }),
  http: nothing,
  'follow-key': z.strictObject({
    volume,
    host: hostId,
    protocol: z.enum([UPGRADE_RECORDS, UPGRADE_SESSION]),
  }),
  'expect-lead': z.strictObject({ volume, epoch, stamp }),
  follow: z.strictObject({ volume, leader: hostId, address, key, nonce: nonce.optional() }),
  'follow-next': z.strictObject({ volume, leader: hostId, address, key, nonce: nonce.optional() }),
  unfollow: z.strictObject({ volume }),
  follows: nothing,
  endpoint: z.strictObject({ volume, session, socket: socketPath, mode }),
  route: z.strictObject({
    volume,
    session,
    to: z.union([
      z.literal('here'),
      z.strictObject({ address, key, nonce: nonce.optional(), isNext: z.boolean().optional() }),
    ]),
  }),
  'end-endpoint': z.strictObject({ volume }),
  endpoints: nothing,
  replicator: z.strictObject({ address }),
  'shell-stats': nothing,
  'scrub-now': nothing,
  'scrub-status': nothing,
  create: z.strictObject({ stamp: hex, payload: hex, epoch, token: hex.optional() }),
  branch: z.strictObject({ from: version, version: versionId.optional(), stamp: hex, payload: hex, epoch }),
  'find-version': z.strictObject({ version: versionId }),
  'would-promise': z.strictObject({ volume, epoch }),
  promise: z.strictObject({ volume, epoch, resigned: epoch.optional(), force: z.boolean().optional() }),
  lead: z.strictObject({ volume, epoch, stamp: hex, head, knownLsn: lsn.optional() }),
  'begin-view': z.strictObject({
    volume,
    epoch,
    oldStamp: hex.optional(),
    payload: hex,
    restart: z.boolean().optional(),
    force: z.boolean().optional(),
  }),
  'slice-check': z.strictObject({ volume, epoch, head }),
  'expect-hand': z.strictObject({ volume, epoch, stamp, payload: hex, pad }),
  resign: z.strictObject({ volume, next: epoch.optional(), pad: pad.optional() }),
  attach: z.strictObject({
    volume,
    holders: z
      .array(
        z.strictObject({
          session: z.string().regex(/^[0-9a-f]{32}$/),
          host: hostId,
          isShared: z.boolean(),
          socket: z.string().max(255),
        }),
      )
      .max(64),
    after: z.int().min(0),
  }),
  delete: z.strictObject({ volume }),
  snapshot: z.strictObject({ volume, name: snapshotName }),
  'delete-snapshot': z.strictObject({ volume, name: snapshotName }),
  resize: z.strictObject({ volume, sizeBytes: z.int().positive() }),
  drop: z.strictObject({ volume, left: z.boolean().optional(), epoch: epoch.optional() }),
  volumes: z.strictObject({ all: z.boolean().optional(), volume: volume.optional() }),
  records: z.strictObject({
    volume,
    lsn: z.int().nonnegative(),
    // The answer is base64 in one message.
    bytesMax: z
      .int()
      .positive()
      .max(2 * 1024 * 1024),
  }),
  checkpoint: nothing,
  sync: nothing,
  segments: nothing,
  clean: z.strictObject({ logical: z.int().positive() }),
  scrub: z.strictObject({
    node: z.int().nonnegative(),
    block: z.int().nonnegative(),
    blocksMax: z.int().positive(),
  }),
  stats: nothing,
  'put-local': z.strictObject({ volume: hex, kind: z.int().positive().max(0xffff), bytes: hex }),
  'get-local': z.strictObject({ volume: hex, kind: z.int().positive().max(0xffff) }),
} satisfies Record<EngineVerb, z.ZodType>

/** A request whose arguments are those of its verb. */
export type Request = {
  [V in EngineVerb]: {
    readonly id: number
    readonly verb: V
    readonly args: z.output<(typeof verbs)[V]>
    readonly store?: string | undefined
    readonly payload?: Buffer
  }
}[EngineVerb]

/** Why a line is no request, and the id to answer to, if it had one. */
export interface Refused {
  readonly id: number | null
  readonly error: MalformedMessageError | UnknownVerbError
}

export function parseRequest(line: string): Request | Refused {
  let message: unknown
  try {
    message = JSON.parse(line)
  } catch {
    return { id: null, error: new MalformedMessageError('not a line of JSON') }
  }
  const id = idOf(message)
  const outer = request.safeParse(message)
  if (!outer.success) return { id, error: malformed(outer.error) }
  const { verb, payload, ...rest } = outer.data
  if (!isVerb(verb)) return { id, error: new UnknownVerbError(`no such verb: ${verb}`, { verb }) }
  const args = verbs[verb].safeParse(rest.args)
  if (!args.success) return { id, error: malformed(args.error) }
  // The verb and its arguments were checked against each other just now.
  return {
    id: rest.id,
    verb,
    args: args.data,
    store: rest.store,
    ...(payload === undefined ? {} : { payload: Buffer.from(payload, 'base64') }),
  } as Request
}

function isVerb(verb: string): verb is EngineVerb {
  return Object.hasOwn(verbs, verb)
}

function idOf(message: unknown): number | null {
  const id = typeof message === 'object' && message !== null && 'id' in message ? message.id : undefined
  return Number.isSafeInteger(id) ? (id as number) : null
}

function malformed(error: z.ZodError): MalformedMessageError {
  return new MalformedMessageError(z.prettifyError(error))
}
