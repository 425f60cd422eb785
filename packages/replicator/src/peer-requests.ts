/** What replicators ask each other about volumes. */
import { Volume } from '@cloudfs/http'
import { defineRequest } from '@cloudfs/peers'
import { z } from 'zod'

const id = z.string().regex(/^[0-9a-f]{40}$/)

/** A volume as one host holds it: what it knows of its own replica. */
export const HeldVolume = Volume.omit({ replicas: true, parent: true, attachment: true }).extend({
  members: z.array(z.object({ host: id, store: id, role: z.enum(['data', 'witness', 'learner']) })),
  parent: z.object({ volume: id, lsn: z.int(), version: id }).optional(),
  /** Where it is attached, as its primary remembers. */
  attachment: z
    .object({ volume: id, host: id, socket: z.string(), uri: z.string(), isShared: z.boolean() })
    .optional(),
})
export type HeldVolume = z.output<typeof HeldVolume>

/** The volumes that a host holds. */
export const askVolumes = defineRequest(
  'volume/list',
  z.object({}),
  z.object({ volumes: z.array(HeldVolume) }),
)

/** A host that is to hold a replica, in this store. */
export const Member = z.object({
  host: id,
  store: id,
  publicKey: z.string().regex(/^[0-9a-f]{64}$/),
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

/** The primary makes a volume whose members keep room for it; done when the creation is committed. */
export const askCreate = defineRequest(
  'volume/create',
  z.object({
    sizeBytes: z.int().positive(),
    name: z.string(),
    mode: z.enum(['durable', 'quorum', 'local']),
    members: z.array(Member).min(1),
  }),
  z.object({ volume: id, version: id }),
)

/** What only a volume's primary can do. */
export const PrimaryAction = z.discriminatedUnion('action', [
  z.object({ action: z.literal('delete'), volume: id }),
  z.object({ action: z.literal('snapshot'), volume: id, name: z.string() }),
  z.object({ action: z.literal('delete-snapshot'), volume: id, name: z.string() }),
  z.object({
    action: z.literal('branch'),
    volume: id,
    snapshot: z.string().optional(),
    name: z.string(),
    members: z.array(Member).min(1),
  }),
])
export type PrimaryAction = z.output<typeof PrimaryAction>

/** What the primary did. */
const Acted = z.object({ volume: id, version: id.optional(), lsn: z.int().optional() })
export type Acted = z.output<typeof Acted>

export const askPrimary = defineRequest('volume/act', z.object({ request: PrimaryAction }), Acted)
