/** What replicators ask each other when one stands for a volume (docs/protocol.md, "Elections"). */
import {
  EPOCH_COUNTER_MAX,
  type Foresight,
  HostId,
  LSN_MAX,
  type Lsn,
  type Standing,
  StoreId,
  VersionId,
  VolumeId,
} from '@cloudfs/interface'
import { defineRequest } from '@cloudfs/peers'
import type { Heard, Resignation } from '@cloudfs/protocol'
import { z } from 'zod'
import { Way } from './peer-requests.js'

/** Views that are not known to be committed pile up where elections fail; a replica of more is in no state to be one. */
const VIEWS_MAX = 1024

const hex = z.string().regex(/^([0-9a-f]{2})*$/)
const volume = z
  .string()
  .refine((text) => VolumeId.is(text))
  .transform((text) => VolumeId.parse(text))
const hostId = z
  .string()
  .refine((text) => HostId.is(text))
  .transform((text) => HostId.parse(text))
const store = z
  .string()
  .refine((text) => StoreId.is(text))
  .transform((text) => StoreId.parse(text))
const version = z
  .string()
  .refine((text) => VersionId.is(text))
  .transform((text) => VersionId.parse(text))
const lsn = z
  .int()
  .min(0)
  .max(LSN_MAX)
  .transform((value) => value as Lsn)
const epoch = z.object({ counter: z.int().min(0).max(EPOCH_COUNTER_MAX), host: hostId })
const head = z.object({ epoch, lsn, version })

const standing = z.object({
  store,
  promised: epoch,
  head,
  committedLsn: lsn,
  recovering: z.boolean(),
  nonce: hex,
  views: z.array(z.object({ epoch, lsn, payload: hex })).max(VIEWS_MAX),
  passedBy: epoch.optional(),
}) satisfies z.ZodType<Standing & Heard>

const foresight = standing.extend({
  would: z.boolean(),
  remainingMs: z.number().min(0),
  role: z.enum(['follower', 'elected', 'primary']),
  mode: z.enum(['durable', 'quorum', 'local']),
}) satisfies z.ZodType<Foresight & Heard>

const resignation = z.object({
  epoch,
  signature: z.string().regex(/^[0-9a-f]{128}$/),
}) satisfies z.ZodType<Resignation>

/** Would the host asked promise this epoch? Nothing changes by it. */
export const askForesee = defineRequest('view/foresee', z.object({ volume, epoch }), foresight)

/** The host asked promises this epoch, durably, or refuses. */
export const askPromise = defineRequest(
  'view/promise',
  z.object({ volume, epoch, resigned: resignation.optional() }),
  standing,
)

/** The slice, in hex, of the stamp of the view that `head` was made in: for who was elected to follow it. */
export const askSlice = defineRequest(
  'view/slice',
  z.object({ volume, epoch, head }),
  z.object({ store, share: z.string().regex(/^[0-9a-f]{64}$/) }),
)

/** The caller has won this epoch. */
export const tellElected = defineRequest(
  'view/follow',
  z.object({ volume, epoch, way: Way.optional() }),
  z.object({}),
)

/** The host asked has a more advanced history than the caller, who would have stood. */
export const askStand = defineRequest('view/stand', z.object({ volume }), z.object({}))

/** The caller leads, and the host of `next` is about to: what can be done before is done when this is answered. */
export const askReady = defineRequest(
  'view/ready',
  z.object({ volume, next: epoch }),
  z.object({
    pad: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional(),
  }),
)

/** The caller has resigned in favour of the host asked, which answers when it leads. `stamp` is of the head's view. */
export const askTake = defineRequest(
  'view/take',
  z.object({
    volume,
    head,
    stamp: z.string().regex(/^[0-9a-f]{64}$/),
    resigned: resignation,
    promise: standing.optional(),
  }),
  z.object({}),
)

/** The caller is about to lead in this epoch: the host asked may connect to it beforehand, and will be let in when it does. */
export const tellNext = defineRequest('view/next', z.object({ volume, epoch, way: Way }), z.object({}))
