/** What replicators ask each other about volumes (docs/protocol.md, "Volumes"). */
import { Refusal, Volume } from '@cloudfs/http'
import { EPOCH_COUNTER_MAX, HostId } from '@cloudfs/interface'
import { defineRequest } from '@cloudfs/peers'
import { z } from 'zod'

const id = z.string().regex(/^[0-9a-f]{40}$/)
const key = z.string().regex(/^[0-9a-f]{64}$/)
/** A challenge that the first ticket made with a key answers. */
const nonce = z.string().regex(/^[0-9a-f]{32}$/)
/** `HOST:PORT` of an engine's HTTP. */
const address = z
  .string()
  .max(300)
  .regex(/^.+:\d{1,5}$/)
/** Of a view, or promised. */
const epoch = z.object({
  counter: z.int().min(0).max(EPOCH_COUNTER_MAX),
  host: id.transform((text) => HostId.parse(text)),
})
/** In one question or answer: what a frame holds. */
const VOLUMES_MAX = 4_096

/** A volume as one host holds it: what it knows of its own replica. */
export const HeldVolume = Volume.omit({ replicas: true }).extend({
  members: z.array(z.object({ host: id, store: id, role: z.enum(['data', 'witness', 'learner']) })),
  epoch,
  role: z.enum(['follower', 'elected', 'primary']),
  /** How the other members are, as the primary's engine sees them. */
  progress: z
    .array(
      z.object({
        host: id,
        store: id,
        state: z.enum(['away', 'behind', 'in-step']),
        appendedLsn: z.int().min(0),
        syncedLsn: z.int().min(0),
        behindBytes: z.int().min(0).optional(),
        bytesPerSecond: z.int().min(0).optional(),
      }),
    )
    .optional(),
  /** Why this host's engine does not follow the primary's. */
  refusal: Refusal.optional(),
})
export type HeldVolume = z.output<typeof HeldVolume>

/** The volumes that a host holds, in order of their ids, from behind `after` on. */
export const askVolumes = defineRequest(
  'volume/list',
  z.object({ after: id.optional() }),
  z.object({ volumes: z.array(HeldVolume), isMore: z.boolean() }),
)

/** A host that is to hold a replica, in this store. */
export const Member = z.object({
  host: id,
  store: id,
  publicKey: key,
  /** It keeps no data. */
  isWitness: z.boolean().optional(),
})
export type Member = z.output<typeof Member>

/** Keeps room for a replica, for `RESERVATION_MS`. */
export const askReserve = defineRequest(
  'volume/reserve',
  z.object({ reservation: id, store: id, needBytes: z.int().min(0) }),
  z.object({ store: id }),
)

/** The room is not needed any more, or is the replica's own by now. */
export const askRelease = defineRequest('volume/release', z.object({ reservation: id }), z.object({}))

/** A volume that was made, and the members that have its creation. */
const Made = z.object({ volume: id, version: id, lsn: z.int(), inStep: z.array(id) })
export type Made = z.output<typeof Made>

/** The primary makes a volume whose members keep room for it; done when the creation is committed. */
export const askCreate = defineRequest(
  'volume/create',
  z.object({
    sizeBytes: z.int().positive(),
    name: z.string(),
    mode: z.enum(['durable', 'quorum', 'local']),
    members: z.array(Member).min(1),
  }),
  Made,
)

/**
 * The caller, a volume's primary in that epoch, misses the host asked among its followers; which says so if it has promised
 * a later one.
 */
export const askFollow = defineRequest(
  'volume/follow',
  z.object({ volume: id, epoch }),
  z.object({ promised: epoch.optional() }),
)

/** What a host needs to reach a volume at its primary's engine. */
export const Way = z.object({ key, address, nonce })
export type Way = z.output<typeof Way>

/** Lets the caller, a member, follow a volume whose primary is asked: its key and the way to the primary's engine. */
export const askFollowKey = defineRequest('volume/follow-key', z.object({ volume: id }), Way)

/** `HOST:PORT` where other hosts reach the engine's HTTP of the host asked. */
export const askEngine = defineRequest('host/engine', z.object({}), z.object({ address }))

/** Which of these volumes, whose primary is asked, are deleted. */
export const askDeleted = defineRequest(
  'volume/deleted',
  z.object({ volumes: z.array(id).max(VOLUMES_MAX) }),
  z.object({ deleted: z.array(id) }),
)

/** Which of the volumes whose primary is asked is, or a short while ago was, at this version. */
export const askVersion = defineRequest(
  'volume/version',
  z.object({ version: id }),
  z.object({ volume: id.optional() }),
)

/** Of an endpoint; 16 bytes. */
const session = z.string().regex(/^[0-9a-f]{32}$/)

/** What a volume's primary tells a host that has it attached, or had. */
export const Lead = z.object({
  volume: id,
  /** In which it leads. */
  epoch,
  /** Of the record of who has it attached. */
  revision: z.int().min(0),
  version: id,
  /** Hosts of which one leads the volume when this one does no more. */
  members: z.array(id),
  /** Left out: the host does not have it attached. */
  holder: z.object({ session, isShared: z.boolean() }).optional(),
  /** Left out where it is the primary itself. */
  way: Way.optional(),
})
export type Lead = z.output<typeof Lead>

/** Does the host asked lead the volume? */
export const askLead = defineRequest('volume/lead', z.object({ volume: id }), Lead)

/** The caller leads the volume, or who has it attached has changed. */
export const tellLead = defineRequest('volume/leads', Lead, z.object({}))

/** The caller is about to lead a volume that the host asked has attached, which may connect to it beforehand. */
export const NextLead = z.object({ volume: id, epoch, session, way: Way })
export type NextLead = z.output<typeof NextLead>
export const tellNextLead = defineRequest('volume/leads-next', NextLead, z.object({}))

/** A volume that the host asked has attached is at another version, says its primary. */
export const tellHead = defineRequest('volume/head', z.object({ volume: id, version: id }), z.object({}))

/** What only a volume's primary can do. */
export const PrimaryAction = z.discriminatedUnion('action', [
  z.object({ action: z.literal('delete'), volume: id }),
  z.object({ action: z.literal('snapshot'), volume: id, name: z.string() }),
  /** The primary hands over to another member. */
  z.object({ action: z.literal('migrate'), volume: id, to: id }),
  z.object({ action: z.literal('delete-snapshot'), volume: id, name: z.string() }),
  z.object({
    action: z.literal('branch'),
    volume: id,
    snapshot: z.string().optional(),
    version: id.optional(),
    name: z.string(),
    members: z.array(Member).min(1),
  }),
  /** The caller wants to serve the volume at this socket: as `HolderRequest` says. */
  z.object({
    action: z.literal('attach'),
    volume: id,
    isShared: z.boolean().optional(),
    socket: z.string().max(200),
    session,
    current: session.optional(),
    take: z.boolean(),
  }),
  /** The caller, or a host that is gone, serves it no longer. */
  z.object({ action: z.literal('detach'), volume: id, host: id }),
])
export type PrimaryAction = z.output<typeof PrimaryAction>

/** What the primary did. */
const Acted = z.object({
  volume: id,
  version: id.optional(),
  lsn: z.int().optional(),
  inStep: z.array(id).optional(),
  lead: Lead.optional(),
  /** The caller has all of the volume, and may lead it itself. */
  mayLead: z.boolean().optional(),
})
export type Acted = z.output<typeof Acted>

export const askPrimary = defineRequest('volume/act', z.object({ request: PrimaryAction }), Acted)
