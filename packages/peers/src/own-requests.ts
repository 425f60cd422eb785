/** The requests this package makes itself (docs/wire-protocol.md, "Membership"). */
import { VolumeId } from '@cloudfs/interface'
import { z } from 'zod'
import { HostIdField, SignedAnnouncement } from './announcement.js'
import { PEER_LIMITS } from './limits.js'
import { defineRequest } from './request.js'

const announcements = z.array(SignedAnnouncement).max(PEER_LIMITS.membersMax + 1)
const digest = z.string().regex(/^[0-9a-f]{64}$/)
const revision = z.int().min(0)

const volumeId = z.string().transform((text, context): VolumeId => {
  if (VolumeId.is(text)) return text
  context.issues.push({ code: 'custom', message: 'not a volume id', input: text })
  return z.NEVER
})

const introduction = z.object({ announcement: SignedAnnouncement })

/** First thing on a connection, by the side that opened it: each end says who it is. */
export const Hello = defineRequest('peers/hello', introduction, introduction)

const digests = z.object({ digest })

/** Are you there, and do you know what I know? */
export const Ping = defineRequest('peers/ping', digests, digests)

/** Brings two hosts to the same announcements: the asked one gives what is newer there and wants what is newer here. */
export const Exchange = defineRequest(
  'peers/exchange',
  z.object({
    /** The revisions the asking host knows; left out where it only gives. */
    known: z.record(z.string(), revision).optional(),
    give: announcements,
  }),
  z.object({ give: announcements, want: z.array(HostIdField).max(PEER_LIMITS.membersMax + 1) }),
)

/** Does the host hold a replica of the volume? */
export const WhoHas = defineRequest(
  'peers/who-has',
  z.object({ volume: volumeId }),
  z.object({ has: z.boolean() }),
)
