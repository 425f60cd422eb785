/** What replicators ask each other about the set of a volume's members (docs/protocol.md, "Volumes between replicators"). */
import { EPOCH_COUNTER_MAX, HostId, StoreId, VolumeId } from '@cloudfs/interface'
import { defineRequest } from '@cloudfs/peers'
import { z } from 'zod'

const id = z.string().regex(/^[0-9a-f]{40}$/)
const volume = id.transform((text) => VolumeId.parse(text))
const host = id.transform((text) => HostId.parse(text))
const store = id.transform((text) => StoreId.parse(text))
const epoch = z.object({ counter: z.int().min(0).max(EPOCH_COUNTER_MAX), host })

/**
 * The primary takes `joins` in as a learner, and when that has everything it votes, in the place of `leaves` if that is
 * named; answered when it learns. Without `joins`, `leaves` goes at once; with `isHeir`, when the host asked leads, to which the
 * caller is about to hand over.
 */
export const askSet = defineRequest(
  'volume/set',
  z.object({
    volume,
    joins: z.object({ host, store }).optional(),
    leaves: host.optional(),
    isHeir: z.boolean().optional(),
  }),
  z.object({}),
)

/**
 * Other hosts are to keep what this one keeps (`leave`), or not any more (`stay`); left out: nothing changes. The host itself
 * records it and tells everybody; the others act on their word alone while it is gone.
 */
export const askEvacuate = defineRequest(
  'host/evacuate',
  z.object({ host, wanted: z.enum(['leave', 'stay']).optional() }),
  z.object({
    isLeaving: z.boolean(),
    /** Volumes of which the host asked has something in its store. */
    keptCount: z.int().min(0),
    /** Of the volumes that the host asked leads: those whose set could not be changed at the last try. */
    work: z.array(
      z.object({
        volume,
        problem: z.object({ code: z.string(), message: z.string() }),
      }),
    ),
  }),
)

/**
 * The newest view that the host asked knows to be committed, durably unless `store`, the caller's, is in it. When a majority
 * of a set without it says so, nobody will ever need its replica (M1).
 */
export const askSettled = defineRequest(
  'volume/settled',
  z.object({ volume, store }),
  z.object({
    epoch,
    members: z.array(z.object({ host, store, role: z.enum(['data', 'witness', 'learner']) })),
  }),
)

/** An operator says that the volume's majority is lost for good: the host asked goes on alone; answered when it leads. */
export const askForce = defineRequest('volume/force', z.object({ volume }), z.object({}))
