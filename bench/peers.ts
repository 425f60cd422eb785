/** What an operator would pick instead, with three copies each, beside the servers of targets.ts. */
import { CEPH_DURABILITY, startCeph } from './ceph.js'
import { GLUSTER_DURABILITY, startGluster } from './gluster.js'
import { TARGETS, type TargetKind } from './targets.js'

const [ours, ...others] = TARGETS

export const PEERS: readonly TargetKind[] = [
  ...(ours === undefined ? [] : [ours]),
  { name: 'Ceph RBD, 3 copies', durability: CEPH_DURABILITY, start: startCeph },
  { name: 'GlusterFS, 3 copies', durability: GLUSTER_DURABILITY, start: startGluster },
  ...others,
]
