/**
 * The JSON API of a node, in one table: the server checks requests by it, the client takes its types from it, and the
 * OpenAPI document is made of it. Ids are lower-case hex; sizes are bytes.
 */
import { HostId, NAME_BYTES_MAX, StoreId, VersionId, VolumeId } from '@cloudfs/interface'
import { z } from 'zod'

const idOf = (what: string) =>
  z
    .string()
    .regex(/^[0-9a-f]{40}$/)
    .describe(what)
const host = idOf(HostId.name)
const store = idOf(StoreId.name)
const volume = idOf(VolumeId.name)
const version = idOf(VersionId.name)
const bytes = z.int().min(0)
const lsn = z.int().min(0)
const name = z
  .string()
  .max(NAME_BYTES_MAX)
  .refine((text) => Buffer.byteLength(text) <= NAME_BYTES_MAX, 'at most 255 bytes')
const someName = name.min(1)
/** A volume's id, or a name that one volume alone has. */
const reference = z
  .string()
  .min(1)
  .max(NAME_BYTES_MAX)
  .describe('a volume: its id, or its name where that is unique')
const mode = z.enum(['durable', 'quorum', 'local'])

/** What every error answer holds. */
export const ErrorBody = z
  .object({ code: z.string(), message: z.string(), details: z.record(z.string(), z.unknown()).optional() })
  .meta({ id: 'Error' })

const StoreFigures = z.object({ store, capacityBytes: bytes, freeBytes: bytes }).meta({ id: 'StoreFigures' })

/** A host, as the node that is asked sees it. */
export const NodeDescription = z
  .object({
    host,
    /** Of the node that is asked. */
    isSelf: z.boolean(),
    state: z.enum(['up', 'suspect', 'down']),
    zone: z.string(),
    draining: z.boolean(),
    version: z.string(),
    publicKey: z.string().regex(/^[0-9a-f]{64}$/),
    /** Multiaddrs for other replicators. */
    addresses: z.array(z.string()),
    httpPort: z.int(),
    enginePort: z.int(),
    stores: z.array(StoreFigures),
    seenAtMs: z.number().optional(),
  })
  .meta({ id: 'Node' })

/** What `GET /id` answers to those who accept JSON. */
export const NodeIdentity = NodeDescription.pick({
  host: true,
  publicKey: true,
  addresses: true,
  version: true,
}).meta({
  id: 'NodeIdentity',
})

const EngineDescription = z
  .object({
    isUp: z.boolean(),
    /** `undefined`: the engine is away. */
    storeState: z.enum(['starting', 'ready', 'failed', 'stopped']).optional(),
    error: ErrorBody.pick({ code: true, message: true }).optional(),
    starts: z.int(),
  })
  .meta({ id: 'Engine' })

export const SelfDescription = NodeDescription.extend({
  engine: EngineDescription,
  runDirectory: z.string(),
}).meta({ id: 'Self' })

/** Why one of two engines does not go on with the stream of a volume's updates. */
export const Refusal = ErrorBody.pick({ code: true, message: true }).meta({ id: 'Refusal' })

const Replica = z
  .object({
    host,
    store,
    role: z.enum(['data', 'witness', 'learner']),
    isPrimary: z.boolean(),
    state: z.enum(['in-step', 'behind', 'away', 'unknown']),
    behindBytes: bytes.optional(),
    /** By how much that becomes less, lately. */
    bytesPerSecond: bytes.optional(),
    /** Until it has everything, if it goes on so. */
    etaSeconds: z.int().min(0).optional(),
    lsn: lsn.optional(),
    /** Why it does not follow the primary, if one of their engines refuses to stream. */
    refusal: Refusal.optional(),
  })
  .meta({ id: 'Replica' })

const Snapshot = z.object({ name: z.string(), lsn, version, sizeBytes: bytes }).meta({ id: 'Snapshot' })

export const Attachment = z
  .object({
    volume,
    host,
    /** Path of the unix socket at that host. */
    socket: z.string(),
    uri: z.string(),
    isShared: z.boolean(),
  })
  .meta({ id: 'Attachment' })

/** A host that has a volume attached, as the volume's primary knows. */
export const AttachedAt = z
  .object({ host, isShared: z.boolean(), socket: z.string() })
  .meta({ id: 'AttachedAt' })

export const Volume = z
  .object({
    volume,
    name: z.string(),
    sizeBytes: bytes,
    mode,
    lsn,
    version,
    committedLsn: lsn,
    /** No: nobody leads it, or whoever does has no majority that answers. */
    isServing: z.boolean(),
    primary: host,
    epoch: z.object({ counter: z.int(), host }),
    replicas: z.array(Replica),
    snapshots: z.array(Snapshot),
    parent: z.object({ volume, lsn, version }).optional(),
    /** One host, or several that share it. */
    attachments: z.array(AttachedAt),
  })
  .meta({ id: 'Volume' })

/** A volume and what an operator should do about it. */
export const VolumeHealth = z
  .object({
    volume,
    name: z.string(),
    state: z.enum(['ok', 'degraded', 'paused']),
    text: z.string(),
    replicas: z.array(Replica),
  })
  .meta({ id: 'VolumeHealth' })

export const Status = z
  .object({
    isDegraded: z.boolean(),
    nodes: z.array(NodeDescription),
    volumes: z.array(VolumeHealth),
  })
  .meta({ id: 'Status' })

/** A volume that a host has still to be rid of. */
const Leftover = z
  .object({
    volume,
    name: z.string(),
    /**
     * `waits`: its turn comes; `moves`: another host is on the way to its place; `drops`: another has it, and the replica is
     * dropped when nobody can need it any more.
     */
    state: z.enum(['waits', 'moves', 'drops']),
    /** Whether the host leads it. */
    isLed: z.boolean(),
    joins: host.optional(),
    /** What the host that joins lacks, as far as it is known. */
    behindBytes: bytes.optional(),
    bytesPerSecond: bytes.optional(),
    etaSeconds: z.int().min(0).optional(),
    /** Why it could not go at the last try; it is tried again. */
    problem: Refusal.optional(),
  })
  .meta({ id: 'Leftover' })

export const Evacuation = z
  .object({
    host,
    /** Whether it answers. */
    isUp: z.boolean(),
    /** Its volumes are on the way to other hosts, and it gets no new ones. */
    isLeaving: z.boolean(),
    /** It keeps nothing of any volume: it can be taken away. */
    isEmpty: z.boolean(),
    volumes: z.array(Leftover),
    /** Volumes that clients at that host use. */
    attached: z.array(volume),
    /** Other hosts that do not answer: of volumes that only they keep besides, nothing is known while the host is gone. */
    silent: z.array(host),
  })
  .meta({ id: 'Evacuation' })

export const NewVolume = z
  .strictObject({
    replicas: z.int().min(1).max(7).default(3),
    sizeBytes: z
      .int()
      .positive()
      .multipleOf(4096)
      .default(8 * 1024 ** 3),
    name: name.default(''),
    mode: mode.default('quorum'),
    /** A third host beside two replicas: it keeps no data, and votes, so that one of the two goes on without the other. */
    witness: z.boolean().default(false),
  })
  .refine(({ witness, replicas, mode: its }) => !witness || (replicas === 2 && its !== 'local'), {
    message: 'a witness is for two replicas, in mode durable or quorum',
    path: ['witness'],
  })
  .meta({ id: 'NewVolume' })

const Created = z
  .object({
    volume,
    version,
    /** The primary first. A majority is in step; others are brought up. */
    replicas: z.array(z.object({ host, store, zone: z.string(), isInStep: z.boolean() })),
    /** It keeps no data. */
    witness: z.object({ host, store, zone: z.string() }).optional(),
    /** What an operator should know about the choice. */
    notes: z.array(z.string()),
  })
  .meta({ id: 'Created' })

/** How far a node's store is being read for rot, or what that found last. */
const Scrub = z
  .object({
    isRunning: z.boolean(),
    /** Of this pass. */
    readBytes: bytes,
    /** What there is to read, as it was when the pass began. */
    liveBytes: bytes,
    /** Bad blocks of this pass, or the last one. */
    corrupt: z.int().min(0),
    /** Of those: had from another replica. */
    repaired: z.int().min(0),
    pagesCorrupt: z.int().min(0).describe('map pages that are bad; nobody else has those'),
    /** Whole ones since the engine started. */
    passes: z.int().min(0),
    endedMs: z.number().optional().describe('when the last pass ended, since 1970'),
  })
  .meta({ id: 'Scrub' })

const volumeParameter = z.object({ volume: reference })
const hostParameter = z.object({ host })

/** A request of the API. */
export interface Operation {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** With `{NAME}` for parameters. */
  readonly path: string
  readonly summary: string
  readonly status: 200 | 201
  readonly params?: z.ZodObject
  readonly body?: z.ZodType
  readonly answer: z.ZodType
}

export const operations = {
  self: { method: 'GET', path: '/v1/node', summary: 'This node', status: 200, answer: SelfDescription },
  nodes: {
    method: 'GET',
    path: '/v1/nodes',
    summary: 'All nodes known here, this one first',
    status: 200,
    answer: z.array(NodeDescription),
  },
  scrub: {
    method: 'GET',
    path: '/v1/node/scrub',
    summary: 'How far this node’s store is being read for bad blocks, or what that found last',
    status: 200,
    answer: Scrub,
  },
  startScrub: {
    method: 'POST',
    path: '/v1/node/scrub',
    summary:
      'Reads this node’s store from end to end now, as fast as it goes; bad blocks are had from other replicas. Answered when it has begun',
    status: 200,
    answer: Scrub,
  },
  evacuation: {
    method: 'GET',
    path: '/v1/nodes/{host}/evacuation',
    summary: 'What a host keeps still, and how far its volumes are on the way to others',
    status: 200,
    params: hostParameter,
    answer: Evacuation,
  },
  evacuate: {
    method: 'POST',
    path: '/v1/nodes/{host}/evacuation',
    summary:
      'Has other hosts keep all that a host keeps, be it up or gone; it gets no new volumes. Answered when it is on its way; the rest goes on by itself',
    status: 200,
    params: hostParameter,
    answer: Evacuation,
  },
  readmit: {
    method: 'DELETE',
    path: '/v1/nodes/{host}/evacuation',
    summary: 'Ends that: the host keeps what it still has, and gets new volumes again',
    status: 200,
    params: hostParameter,
    answer: Evacuation,
  },
  status: {
    method: 'GET',
    path: '/v1/status',
    summary: 'Nodes and volumes, and what to do about those that are not well',
    status: 200,
    answer: Status,
  },
  volumes: {
    method: 'GET',
    path: '/v1/volumes',
    summary: 'The volumes of all nodes that answer',
    status: 200,
    answer: z.array(Volume),
  },
  newVolume: {
    method: 'POST',
    path: '/v1/volumes',
    summary: 'Makes a volume on hosts that placement chooses, the primary at this one if it can',
    status: 201,
    body: NewVolume,
    answer: Created,
  },
  volume: {
    method: 'GET',
    path: '/v1/volumes/{volume}',
    summary: 'One volume',
    status: 200,
    params: volumeParameter,
    answer: Volume,
  },
  deleteVolume: {
    method: 'DELETE',
    path: '/v1/volumes/{volume}',
    summary: 'Deletes a volume that is not attached',
    status: 200,
    params: volumeParameter,
    answer: z.object({ volume }),
  },
  migrate: {
    method: 'POST',
    path: '/v1/volumes/{volume}/migrate',
    summary: 'Has another host that holds the volume lead it; answered when it does',
    status: 200,
    params: volumeParameter,
    body: z.strictObject({ host }),
    answer: z.object({ volume, host }),
  },
  replace: {
    method: 'POST',
    path: '/v1/volumes/{volume}/replace',
    summary:
      'Has another host keep the volume, in the place of `leaves` or, without that, beside the others; answered when it learns. The rest goes on by itself',
    status: 200,
    params: volumeParameter,
    body: z.strictObject({
      leaves: host.optional(),
      /** Left out: chosen. */
      joins: host.optional(),
    }),
    answer: z.object({ volume, joins: host, leaves: host.optional() }),
  },
  removeReplica: {
    method: 'DELETE',
    path: '/v1/volumes/{volume}/replicas/{host}',
    summary: 'Has a host keep the volume no longer; its replica is dropped when nobody can need it any more',
    status: 200,
    params: z.object({ volume: reference, host }),
    answer: z.object({ volume, leaves: host }),
  },
  forcePlan: {
    method: 'GET',
    path: '/v1/volumes/{volume}/force',
    summary: 'What of the volume would go on if it were forced: the host that has most of those that answer',
    status: 200,
    params: volumeParameter,
    answer: z.object({
      volume,
      host,
      /** Of its last update. */
      lsn,
      version,
      /** Members that answer, and those that do not. */
      answering: z.array(host),
      missing: z.array(host),
    }),
  },
  force: {
    method: 'POST',
    path: '/v1/volumes/{volume}/force',
    summary:
      'Has a host go on alone with what it has of a volume whose majority is lost for good; answered when it leads. What only the others had is lost',
    status: 200,
    params: volumeParameter,
    body: z.strictObject({ host }),
    answer: z.object({ volume, host }),
  },
  snapshot: {
    method: 'POST',
    path: '/v1/volumes/{volume}/snapshots',
    summary: 'Names the state of the volume as it is now',
    status: 201,
    params: volumeParameter,
    body: z.strictObject({ name: someName }),
    answer: z.object({ volume, name: z.string(), version, lsn }),
  },
  deleteSnapshot: {
    method: 'DELETE',
    path: '/v1/volumes/{volume}/snapshots/{name}',
    summary: 'Deletes a snapshot',
    status: 200,
    params: z.object({ volume: reference, name: someName }),
    answer: z.object({ volume, name: z.string() }),
  },
  branch: {
    method: 'POST',
    path: '/v1/branches',
    summary: 'Makes a writable volume that begins as another, a snapshot, or a version shown lately',
    status: 201,
    body: z.strictObject({
      from: z.string().min(1).max(600).describe('VOLUME, VOLUME@SNAPSHOT or a version id'),
      name: name.default(''),
    }),
    answer: Created,
  },
  attachments: {
    method: 'GET',
    path: '/v1/attachments',
    summary: 'What is attached at this host',
    status: 200,
    answer: z.array(Attachment),
  },
  attach: {
    method: 'POST',
    path: '/v1/attachments',
    summary: 'Serves a volume at this host over NBD, now and after each restart',
    status: 201,
    body: z.strictObject({
      volume: reference,
      isShared: z.boolean().default(false),
      take: z
        .boolean()
        .default(false)
        .describe('from hosts that have it and would refuse: what still runs there loses it'),
      keepPrimary: z
        .boolean()
        .default(false)
        .describe('no: this host comes to lead the volume, if it has all of it'),
    }),
    answer: Attachment,
  },
  detach: {
    method: 'DELETE',
    path: '/v1/attachments/{volume}',
    summary: 'Ends an attachment; its clients are let go',
    status: 200,
    params: volumeParameter,
    answer: z.object({ volume }),
  },
  release: {
    method: 'DELETE',
    path: '/v1/volumes/{volume}/attachments/{host}',
    summary: 'Gives up the attachment of a host that is down',
    status: 200,
    params: z.object({ volume: reference, host }),
    answer: z.object({ volume, host }),
  },
} as const satisfies Record<string, Operation>

export type OperationName = keyof typeof operations
type Of<Name extends OperationName> = (typeof operations)[Name]

/** What the server works with: defaults are filled in. */
export type Params<Name extends OperationName> =
  Of<Name> extends { params: z.ZodType<infer P> } ? P : Readonly<Record<string, never>>
export type Body<Name extends OperationName> =
  Of<Name> extends { body: infer B extends z.ZodType } ? z.output<B> : undefined
/** What a client sends: what has a default may be left out. */
export type BodyInput<Name extends OperationName> =
  Of<Name> extends { body: infer B extends z.ZodType } ? z.input<B> : undefined
export type Answer<Name extends OperationName> = z.output<Of<Name>['answer']>
