/** Where a store's bytes lie, as an offline reader sees it. Files and devices implement it, and simulated disks. */

/** Read-only bytes of one store that no process has open. */
export interface StoreMedium {
  /** The superblock region; shorter if the medium ends before. */
  readSuperblocks(): Promise<Uint8Array>
  /** Segments that exist, in ascending order. `segmentBytes` tells a device how many it can have. */
  listSegments(segmentBytes: number): Promise<number[]>
  /** Bytes of a segment; fewer if it ends before, none if it does not exist. */
  readSegment(physical: number, offset: number, bytes: number, segmentBytes: number): Promise<Uint8Array>
}
