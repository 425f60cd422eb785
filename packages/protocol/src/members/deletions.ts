/** Which volumes are deleted, as far as a host knows: whoever was away meanwhile asks, and drops what it has of them. */
import type { VolumeId, VolumeStatus } from '@cloudfs/interface'

type Kept = Pick<VolumeStatus, 'volume' | 'deletionCommitted' | 'left'>

/**
 * What a host answers. A replica that this host alone has dropped, because it left the set, lives on at others.
 *
 * @param kept - all that the host's store has, or had
 */
export function deletedOf(kept: readonly Kept[], asked: readonly VolumeId[]): VolumeId[] {
  const wanted = new Set(asked)
  return kept
    .filter(({ deletionCommitted, left, volume }) => deletionCommitted && !left && wanted.has(volume))
    .map(({ volume }) => volume)
}
