/** What is measured: each is one fio run. Random I/O is in blocks of 4 KiB, sequential in 1 MiB. */
export interface Workload {
  readonly name: string
  readonly rw: 'randwrite' | 'randread' | 'write' | 'read'
  readonly blockBytes: number
  readonly depth: number
  /** A flush follows this many writes. */
  readonly flushEvery?: number
  /** The kernel's page cache is emptied before. */
  readonly isCold?: true
}

const KIB = 1024
const MIB = 1024 * KIB

/** Of a client that fail-over is measured with. */
export const RANDOM_WRITES: Workload = {
  name: 'random write, depth 16',
  rw: 'randwrite',
  blockBytes: 4 * KIB,
  depth: 16,
}

export const WORKLOADS: readonly Workload[] = [
  { name: 'random write, depth 1', rw: 'randwrite', blockBytes: 4 * KIB, depth: 1 },
  { name: 'random write, depth 32', rw: 'randwrite', blockBytes: 4 * KIB, depth: 32 },
  {
    name: 'random write + flush each, depth 1',
    rw: 'randwrite',
    blockBytes: 4 * KIB,
    depth: 1,
    flushEvery: 1,
  },
  {
    name: 'random write, depth 32, flush every 32',
    rw: 'randwrite',
    blockBytes: 4 * KIB,
    depth: 32,
    flushEvery: 32,
  },
  { name: 'random read, depth 1', rw: 'randread', blockBytes: 4 * KIB, depth: 1 },
  { name: 'random read, depth 32', rw: 'randread', blockBytes: 4 * KIB, depth: 32 },
  { name: 'random read, not cached, depth 1', rw: 'randread', blockBytes: 4 * KIB, depth: 1, isCold: true },
  { name: 'random read, not cached, depth 32', rw: 'randread', blockBytes: 4 * KIB, depth: 32, isCold: true },
  { name: 'sequential write, depth 4', rw: 'write', blockBytes: MIB, depth: 4 },
  { name: 'sequential read, depth 4', rw: 'read', blockBytes: MIB, depth: 4 },
]
