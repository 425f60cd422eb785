/** The volumes in this host's store, as its engine lists them. */
import type { ViewPayload } from '@cloudfs/format'
import { type StoreId, type VolumeId, type VolumeStatus } from '@cloudfs/interface'
import { viewOfHex } from '@cloudfs/protocol'
import { z } from 'zod'
import type { HeldVolume } from './peer-requests.js'

/** What the core says beyond what every caller needs. */
const viewed = z.object({ view: z.string() })
const described = z.object({
  parent: z.object({ volume: z.string(), lsn: z.int(), version: z.string() }).optional(),
  snapshots: z.array(z.object({ name: z.string(), lsn: z.int(), version: z.string(), sizeBytes: z.int() })),
})

/** The view of a volume. @throws the engine sent what is none */
export function viewOf(status: VolumeStatus): ViewPayload {
  return viewOfHex(viewed.parse(status).view)
}

/** @param rateOf - of a replica that is behind: by how many bytes a second it comes nearer, if that is known */
export function heldVolume(
  status: VolumeStatus,
  rateOf: (volume: VolumeId, store: StoreId) => number | undefined,
): HeldVolume {
  const { parent, snapshots } = described.parse(status)
  const view = viewOf(status)
  return {
    volume: status.volume,
    name: status.name,
    sizeBytes: status.sizeBytes,
    mode: status.mode as HeldVolume['mode'],
    lsn: status.lsn,
    version: status.version,
    committedLsn: status.committedLsn,
    isServing: status.role === 'primary' && status.serving,
    role: status.role,
    primary: view.primary,
    epoch: status.epoch,
    members: view.members.map(({ host, store, role }) => ({ host, store, role })),
    snapshots,
    attachments: status.attach.holders.map(({ host, isShared, socket }) => ({ host, isShared, socket })),
    ...(parent !== undefined && { parent }),
    ...(status.members !== undefined && {
      progress: status.members.map((member) => {
        const bytesPerSecond = rateOf(status.volume, member.store)
        return { ...member, ...(bytesPerSecond !== undefined && { bytesPerSecond }) }
      }),
    }),
  }
}
