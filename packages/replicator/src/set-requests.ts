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
 * named; answered when it learns. Without `joins`, `leaves` goes at once.
 */
export const askSet = defineRequest(
  'volume/set',
  z.object({ volume, joins: z.object({ host, store }).optional(), leaves: host.optional() }),
  z.object({}),
)

/**
 * The newest view that the host asked knows to be committed, durably. The caller is out of the set, it believes: when a
 * majority of the new set says so, nobody will ever need its replica (M1).
 */
export const askSettled = defineRequest(
  'volume/settled',
  z.object({ volume }),
  z.object({
    epoch,
    members: z.array(z.object({ host, store, role: z.enum(['data', 'witness', 'learner']) })),
  }),
)
