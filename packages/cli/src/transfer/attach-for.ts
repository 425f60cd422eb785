/** A volume attached for as long as a command works on it; one that was attached before stays so. */
import type { NodeClient } from '@cloudfs/http'

export interface HeldAttachment {
  readonly volume: string
  readonly socket: string
  /** Whether it ends with the command. */
  readonly isOwn: boolean
  detach(): Promise<void>
}

/** @param wasOwn - an earlier run of the same command attached it, and may not have come to detach it */
export async function attachFor(
  client: NodeClient,
  reference: string,
  wasOwn: boolean,
): Promise<HeldAttachment> {
  const before = await client.call('attachments')
  const { volume, socket } = await client.call('attach', { body: { volume: reference, keepPrimary: true } })
  const isOwn = wasOwn || !before.some((each) => each.volume === volume)
  return {
    volume,
    socket,
    isOwn,
    detach: async () => {
      if (isOwn) await client.call('detach', { params: { volume } })
    },
  }
}
